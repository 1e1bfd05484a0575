package conformance

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// awsCLI runs the aws command against the local endpoint. Debian's awscli 2.9 uses the query
// protocol for SQS, newer versions use JSON, so the tests should run with both.
type awsCLI struct {
	*testing.T

	path, url string
}

func newCLI(t *testing.T) *awsCLI {
	t.Helper()
	path := testkit.RequireTool(t, "aws", "apt-get install awscli")
	endpoint := testkit.NewAWS(t, func(o *awslocal.Options) { o.Dir = t.TempDir() }).Endpoint
	return &awsCLI{T: t, path: path, url: endpoint}
}

// try runs a command and returns its output.
func (c *awsCLI) try(args ...string) (string, error) {
	c.Helper()
	cmd := exec.CommandContext(c.Context(), c.path, append([]string{"--endpoint-url", c.url, "--output", "json"}, args...)...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs a command that must succeed and decodes its output into into, which may be nil.
func (c *awsCLI) run(into any, args ...string) {
	c.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(out), into); err != nil {
			c.Fatalf("decode the output of aws %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func TestAWSCommandWithQueuesAndTopics(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	name := unique(t)
	var q struct{ QueueUrl string }
	c.run(&q, "sqs", "create-queue", "--queue-name", name, "--attributes", "VisibilityTimeout=120", "--tags", "team=saga")
	c.run(nil, "sqs", "send-message", "--queue-url", q.QueueUrl, "--message-body", `{"x":"<&>"}`,
		"--message-attributes", "kind={DataType=String,StringValue=OrderPlaced}")
	c.run(nil, "sqs", "send-message-batch", "--queue-url", q.QueueUrl, "--entries", "Id=a,MessageBody=one", "Id=b,MessageBody=two")
	var attrs struct{ Attributes map[string]string }
	c.run(&attrs, "sqs", "get-queue-attributes", "--queue-url", q.QueueUrl, "--attribute-names", "All")
	if attrs.Attributes["VisibilityTimeout"] != "120" || attrs.Attributes["ApproximateNumberOfMessages"] != "3" {
		t.Errorf("queue attributes = %v, want a visibility timeout of 120 and 3 messages", attrs)
	}
	var got struct {
		Messages []struct {
			Body, ReceiptHandle, MessageId string
			Attributes                     map[string]string
			MessageAttributes              map[string]struct{ StringValue, DataType string }
		}
	}
	c.run(&got, "sqs", "receive-message", "--queue-url", q.QueueUrl, "--attribute-names", "All",
		"--message-attribute-names", "All", "--wait-time-seconds", "1")
	if len(got.Messages) != 1 {
		t.Fatalf("received %d messages, want 1: %+v", len(got.Messages), got)
	}
	m := got.Messages[0]
	if m.Body != `{"x":"<&>"}` || m.MessageAttributes["kind"].StringValue != "OrderPlaced" || m.Attributes["ApproximateReceiveCount"] != "1" {
		t.Fatalf("message = %+v, want the body and the attribute kind that were sent, at its first receive", m)
	}
	c.run(nil, "sqs", "change-message-visibility", "--queue-url", q.QueueUrl,
		"--receipt-handle", m.ReceiptHandle, "--visibility-timeout", "60")
	c.run(nil, "sqs", "delete-message", "--queue-url", q.QueueUrl, "--receipt-handle", m.ReceiptHandle)
	var tags struct{ Tags map[string]string }
	c.run(&tags, "sqs", "list-queue-tags", "--queue-url", q.QueueUrl)
	if tags.Tags["team"] != "saga" {
		t.Errorf("tags = %v, want team=saga", tags)
	}
	c.run(nil, "sqs", "purge-queue", "--queue-url", q.QueueUrl)

	var topic struct{ TopicArn string }
	c.run(&topic, "sns", "create-topic", "--name", name)
	var sub struct{ SubscriptionArn string }
	c.run(&sub, "sns", "subscribe", "--topic-arn", topic.TopicArn, "--protocol", "sqs",
		"--notification-endpoint", attrs.Attributes["QueueArn"],
		"--attributes", `{"RawMessageDelivery":"true","FilterPolicy":"{\"kind\":[\"OrderPlaced\"]}"}`)
	c.run(nil, "sns", "publish", "--topic-arn", topic.TopicArn, "--message", "from sns",
		"--message-attributes", `{"kind":{"DataType":"String","StringValue":"OrderPlaced"}}`)
	got.Messages = nil
	c.run(&got, "sqs", "receive-message", "--queue-url", q.QueueUrl, "--wait-time-seconds", "1")
	if len(got.Messages) != 1 || got.Messages[0].Body != "from sns" {
		t.Errorf("received %+v, want the published message", got)
	}
	c.run(nil, "sns", "list-topics")
	c.run(nil, "sns", "list-subscriptions-by-topic", "--topic-arn", topic.TopicArn)
	c.run(nil, "sns", "delete-topic", "--topic-arn", topic.TopicArn)
	var urls struct{ QueueUrls []string }
	c.run(&urls, "sqs", "list-queues", "--queue-name-prefix", name)
	if len(urls.QueueUrls) != 1 || urls.QueueUrls[0] != q.QueueUrl {
		t.Errorf("queues = %v, want only %s", urls, q.QueueUrl)
	}
	c.run(nil, "sqs", "delete-queue", "--queue-url", q.QueueUrl)
	out, err := c.try("sqs", "get-queue-url", "--queue-name", name)
	if err == nil || !strings.Contains(out, "NonExistentQueue") && !strings.Contains(out, "QueueDoesNotExist") {
		t.Errorf("get-queue-url of the deleted queue: %v, want NonExistentQueue or QueueDoesNotExist\n%s", err, out)
	}
	var identity struct{ Account string }
	c.run(&identity, "sts", "get-caller-identity")
	if len(identity.Account) != 12 {
		t.Errorf("identity = %+v, want an account of twelve digits", identity)
	}
}

func TestAWSCommandWithTables(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	name := unique(t)
	c.run(nil, "dynamodb", "create-table", "--table-name", name, "--billing-mode", "PAY_PER_REQUEST",
		"--attribute-definitions", "AttributeName=sku,AttributeType=S", "--key-schema", "AttributeName=sku,KeyType=HASH")
	c.run(nil, "dynamodb", "wait", "table-exists", "--table-name", name)
	c.run(nil, "dynamodb", "put-item", "--table-name", name, "--item", `{"sku":{"S":"A"},"available":{"N":"3"}}`)
	take := []string{
		"dynamodb", "update-item", "--table-name", name, "--key", `{"sku":{"S":"A"}}`,
		"--update-expression", "SET available = available - :q",
		"--condition-expression", "available >= :q", "--expression-attribute-values", `{":q":{"N":"2"}}`,
	}
	c.run(nil, take...)
	if out, err := c.try(take...); err == nil || !strings.Contains(out, "ConditionalCheckFailedException") {
		t.Errorf("taking more than is available: %v, want ConditionalCheckFailedException\n%s", err, out)
	}
	var got struct{ Item map[string]map[string]string }
	c.run(&got, "dynamodb", "get-item", "--table-name", name, "--key", `{"sku":{"S":"A"}}`)
	if got.Item["available"]["N"] != "1" {
		t.Errorf("item = %v, want 1 available", got)
	}
	c.run(nil, "dynamodb", "delete-table", "--table-name", name)
}
