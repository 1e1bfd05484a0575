package cloudformation

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"gopkg.in/yaml.v3"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/lambda"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestTemplateIsCleanToCfnLint(t *testing.T) {
	lint := testkit.Pinned(t, "cfnlint/bin/cfn-lint", "cfn-lint")
	out, err := exec.CommandContext(t.Context(), lint, "--include-checks", "I", "--", template).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("cfn-lint: error %v, want none, and no output:\n%s", err, out)
	}
}

// TestStackIsWhatSetupMakes creates both, in two regions of one AWS.
func TestStackIsWhatSetupMakes(t *testing.T) {
	w := newWorld(t, testkit.MiniStack)
	ours, theirs := w.clients(w.endpoint, setupRegion), w.clients(w.endpoint, region)
	made, err := ours.Setup(t.Context())
	require.NoError(t, err)
	store := orderstore.New(ours.DynamoDB, orderstore.TablesWithPrefix(""), nil)
	require.NoError(t, store.CreateTables(t.Context()))
	require.NoError(t, orderstore.NewAdjuster(store, "").CreateTable(t.Context()))
	require.NoError(t, ours.CreateCursorTable(t.Context(), ""))

	found, err := theirs.Find(t.Context())
	require.NoError(t, err)
	same(t, "what Find finds", elsewhere(found), made)

	queues := map[string]bool{}
	for i, q := range found.Queues() {
		m := made.Queues()[i]
		same(t, q.Name, queue(t, theirs, q.URL, queues), queue(t, ours, m.URL, nil))
		same(t, "dead letters of "+q.Name, queue(t, theirs, q.DeadURL, queues), queue(t, ours, m.DeadURL, nil))
	}
	for _, topic := range []string{found.OrderTopic, found.ShipmentTopic, found.CustomerTopic} {
		same(t, "subscriptions of "+topic, subscriptions(t, theirs, topic), subscriptions(t, ours, elsewhere(topic)))
	}
	tables, err := ours.DynamoDB.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	require.NoError(t, err)
	if len(tables.TableNames) != 5 {
		t.Errorf("setup makes %v, 5 tables were expected here", tables.TableNames)
	}
	for _, name := range tables.TableNames {
		same(t, "table "+name, table(t, theirs, name), table(t, ours, name))
	}

	// Beyond setup there are the stock function's, and nothing else.
	url, err := theirs.SQS.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String(lambda.QueueStockEvents)})
	require.NoError(t, err)
	q := queue(t, theirs, *url.QueueUrl, queues)
	if !strings.Contains(fmt.Sprint(q), lambda.QueueStockEventsDLQ) || !strings.Contains(fmt.Sprint(q), ":"+lambda.TopicStockEvents) {
		t.Errorf("queue %s = %v, want its dead-letter queue and its topic", lambda.QueueStockEvents, q)
	}
	prefix := strings.TrimSuffix(found.OrderTopic, "OrderEvents")
	policy := filter(t, map[string]string{"FilterPolicyScope": "MessageBody", "FilterPolicy": cloud.FilterPolicy(events.TypeStockAdjusted)})
	same(t, "stock events", subscriptions(t, theirs, prefix+lambda.TopicStockEvents),
		[]string{lambda.QueueStockEvents + " raw=true " + policy})
	same(t, "stock levels", subscriptions(t, theirs, prefix+lambda.TopicStockLevels), []string(nil))
	dlq, err := theirs.SQS.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String(lambda.QueueStockEventsDLQ)})
	require.NoError(t, err)
	same(t, lambda.QueueStockEventsDLQ, queue(t, theirs, *dlq.QueueUrl, queues), queue(t, ours, made.OrderDLQ, nil))
	all, err := theirs.SQS.ListQueues(t.Context(), &sqs.ListQueuesInput{})
	require.NoError(t, err)
	if len(all.QueueUrls) != len(queues) {
		t.Errorf("queues = %v, want the compared ones: %v", all.QueueUrls, queues)
	}
	w.alarms(queues)
}

// elsewhere is a value with the setup's region in place of the stack's.
func elsewhere[T any](v T) (moved T) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal([]byte(strings.ReplaceAll(string(b), region, setupRegion)), &moved)
	}
	if err != nil {
		panic(err)
	}
	return moved
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	g, err := json.MarshalIndent(got, "", " ")
	require.NoError(t, err)
	w, err := json.MarshalIndent(want, "", " ")
	require.NoError(t, err)
	if string(g) != string(w) {
		t.Errorf("%s: the stack has\n%s\nwant\n%s", what, g, w)
	}
}

// queue reads what setup decides about a queue. With all it is the stack's:
// it must be encrypted with the stack's key, and its name is added.
func queue(t *testing.T, c *cloud.Clients, url string, all map[string]bool) any {
	t.Helper()
	out, err := c.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	require.NoError(t, err)
	if all != nil {
		all[url[strings.LastIndex(url, "/")+1:]] = true
		if key := out.Attributes["KmsMasterKeyId"]; !strings.HasPrefix(key, "arn:aws:kms:") {
			t.Errorf("%s: key %q, want the ARN of a KMS key", url, key)
		}
	}
	q := map[string]any{}
	for _, name := range []string{
		"VisibilityTimeout", "MessageRetentionPeriod", "MaximumMessageSize", "DelaySeconds", "ReceiveMessageWaitTimeSeconds",
	} {
		q[name] = out.Attributes[name]
	}
	for _, name := range []string{"Policy", "RedrivePolicy"} {
		var v map[string]any
		if doc := out.Attributes[name]; doc != "" {
			require.NoError(t, json.Unmarshal([]byte(elsewhere(doc)), &v))
			if n, ok := v["maxReceiveCount"]; ok {
				v["maxReceiveCount"] = fmt.Sprint(n) // AWS takes a number and its text
			}
		}
		q[name] = v
	}
	return q
}

func subscriptions(t *testing.T, c *cloud.Clients, topic string) (all []string) {
	t.Helper()
	subs, err := c.SNS.ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	require.NoError(t, err)
	for _, s := range subs.Subscriptions {
		a, err := c.SNS.GetSubscriptionAttributes(t.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: s.SubscriptionArn})
		require.NoError(t, err)
		name := (*s.Endpoint)[strings.LastIndex(*s.Endpoint, ":")+1:]
		all = append(all, name+" raw="+a.Attributes["RawMessageDelivery"]+" "+filter(t, a.Attributes))
	}
	return all
}

// filter is a subscription's, whatever the order of its fields.
func filter(t *testing.T, attributes map[string]string) string {
	t.Helper()
	var policy map[string]any
	require.NoError(t, json.Unmarshal([]byte(attributes["FilterPolicy"]), &policy))
	b, err := json.Marshal(policy)
	require.NoError(t, err)
	return attributes["FilterPolicyScope"] + " " + string(b)
}

func table(t *testing.T, c *cloud.Clients, name string) any {
	t.Helper()
	out, err := c.DynamoDB.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &name})
	require.NoError(t, err)
	byName := func(a, b dynamotypes.AttributeDefinition) int {
		return strings.Compare(*a.AttributeName, *b.AttributeName)
	}
	d := out.Table
	indexes := map[string]any{}
	for _, i := range d.GlobalSecondaryIndexes {
		indexes[*i.IndexName] = []any{i.KeySchema, i.Projection}
	}
	return map[string]any{
		"keys": d.KeySchema, "attributes": slices.SortedFunc(slices.Values(d.AttributeDefinitions), byName),
		"indexes": indexes, "billing": d.BillingModeSummary.BillingMode,
	}
}

// TestTablesAreKept reads the template: neither emulator's CloudFormation makes
// backups, encryption or times to live.
func TestTablesAreKept(t *testing.T) {
	file, err := os.ReadFile(template)
	require.NoError(t, err)
	type properties struct {
		TableName string `yaml:"TableName"`
		Backups   struct {
			On bool `yaml:"PointInTimeRecoveryEnabled"`
		} `yaml:"PointInTimeRecoverySpecification"`
		Encrypt struct {
			SSEEnabled bool   `yaml:"SSEEnabled"`
			SSEType    string `yaml:"SSEType"`
		} `yaml:"SSESpecification"`
		Expiry struct {
			By string `yaml:"AttributeName"`
			On bool   `yaml:"Enabled"`
		} `yaml:"TimeToLiveSpecification"`
	}
	var doc struct {
		Resources map[string]struct {
			Properties yaml.Node `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	require.NoError(t, yaml.Unmarshal(file, &doc))
	tables := 0
	for name, r := range doc.Resources {
		var p properties
		if !strings.HasSuffix(name, "Table") {
			continue
		}
		require.NoError(t, r.Properties.Decode(&p))
		tables++
		if !p.Backups.On || !p.Encrypt.SSEEnabled || p.Encrypt.SSEType != "KMS" {
			t.Errorf("table %s = %+v, want backups and encryption with a KMS key", name, p)
		}
		want := slices.Contains([]string{"orders", "reservations", "stockevents"}, p.TableName)
		if p.Expiry.On != want || want && p.Expiry.By != "expiresAt" {
			t.Errorf("table %s: time to live = %+v, want enabled = %v", name, p.Expiry, want)
		}
	}
	if tables != 5 {
		t.Errorf("tables = %d, want 5", tables)
	}
}

// TestMotoTakesIt: an emulator of other people, which passes subscriptions,
// queue policies and alarms over.
func TestMotoTakesIt(t *testing.T) {
	w := newWorld(t, testkit.Moto)
	c := w.clients(w.endpoint, region)
	_, err := c.Find(t.Context())
	require.NoError(t, err)
	tables, err := c.DynamoDB.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil || len(tables.TableNames) != 5 {
		t.Errorf("ListTables = %v (error %v), want 5 tables", tables, err)
	}
}

// alarms checks that each queue has an alarm, for old messages or for dead letters, and each topic
// with a filter has one for messages that are not valid JSON.
func (w world) alarms(queues map[string]bool) {
	w.Helper()
	var out struct {
		MetricAlarms []struct {
			MetricName string
			Dimensions []struct{ Value string }
			Threshold  float64
		}
	}
	// Not by the aws command: Debian's asks for XML, in which ministack has no
	// dimensions.
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.endpoint, strings.NewReader("{}"))
	require.NoError(w, err)
	req.Header.Set("X-Amz-Target", "GraniteServiceVersion20100801.DescribeAlarms")
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("Authorization",
		"AWS4-HMAC-SHA256 Credential=test/20260101/"+region+"/monitoring/aws4_request, SignedHeaders=host, Signature=0")
	res, err := http.DefaultClient.Do(req)
	require.NoError(w, err)
	require.NoError(w, errors.Join(json.NewDecoder(res.Body).Decode(&out), res.Body.Close()))
	got := map[string]string{}
	for _, a := range out.MetricAlarms {
		if len(a.Dimensions) != 1 {
			w.Fatalf("alarm %+v, want one dimension", a)
		}
		got[a.Dimensions[0].Value] = fmt.Sprint(a.MetricName, " ", a.Threshold)
	}
	want := map[string]string{}
	for q := range queues {
		want[q] = "ApproximateAgeOfOldestMessage 300"
		if strings.HasSuffix(q, "-dlq") {
			want[q] = "ApproximateNumberOfMessagesVisible 0"
		}
	}
	for _, topic := range []string{events.TopicOrderEvents, events.TopicShipmentEvents, lambda.TopicStockEvents} {
		want[topic] = "NumberOfNotificationsFilteredOut-InvalidMessageBody 0"
	}
	same(w.T, "alarms", got, want)
}
