package awslocal

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/journal/journaltest"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestResponsesShowOnlyWhatIsOnDisk checks repeated requests, reads and failed conditions.
func TestResponsesShowOnlyWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	const queue = `"QueueUrl":"http://local/000000000000/q"`
	newQueue := jsonRequest("AmazonSQS.CreateQueue", `{"QueueName":"q"}`, 200, "/q")
	newTopic := formRequest(url.Values{"Action": {"CreateTopic"}, "Name": {"t"}}, ":t<")
	receive := jsonRequest("AmazonSQS.ReceiveMessage", `{`+queue+`,"VisibilityTimeout":0}`, 200, "a message")
	topic := []string{"arn:aws:sns:us-east-1:000000000000:t"}
	for name, test := range map[string]journaltest.ServerTest{
		"item": {
			Before: []journaltest.Request{jsonRequest("DynamoDB_20120810.CreateTable", `{"TableName":"orders","BillingMode":"PAY_PER_REQUEST",
				"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`,
				200, "ACTIVE")},
			Change: putOnce(200, "{}"),
			Shows: []journaltest.Request{
				putOnce(400, "ConditionalCheckFailedException"),
				jsonRequest("DynamoDB_20120810.GetItem", `{"TableName":"orders","Key":{"id":{"S":"o"}}}`, 200, `"Item"`),
				jsonRequest("DynamoDB_20120810.Scan", `{"TableName":"orders"}`, 200, `"Count":1`),
				jsonRequest("DynamoDB_20120810.TransactWriteItems", `{"TransactItems":[{"ConditionCheck":{"TableName":"orders",
					"Key":{"id":{"S":"o"}},"ConditionExpression":"attribute_not_exists(id)"}}]}`, 400, "TransactionCanceledException"),
			},
		},
		"message": {
			Before: []journaltest.Request{newQueue},
			Change: jsonRequest("AmazonSQS.SendMessage", `{`+queue+`,"MessageBody":"a message"}`, 200, "MessageId"),
			Shows: []journaltest.Request{
				receive, jsonRequest("AmazonSQS.GetQueueAttributes", `{`+queue+`,"AttributeNames":["All"]}`, 200, `"ApproximateNumberOfMessages":"1"`),
			},
		},
		"topic": {
			Change: newTopic,
			Shows:  []journaltest.Request{newTopic, formRequest(url.Values{"Action": {"ListTopics"}}, ":t<")},
		},
		"subscription": {
			Before: []journaltest.Request{newQueue, newTopic},
			Change: formRequest(url.Values{
				"Action": {"Subscribe"}, "TopicArn": topic, "Protocol": {"sqs"}, "Endpoint": {"arn:aws:sqs:us-east-1:000000000000:q"},
			}, ":t:"),
			Shows: []journaltest.Request{formRequest(url.Values{"Action": {"Publish"}, "TopicArn": topic, "Message": {"a message"}}, "MessageId")},
		},
		"published message": {
			Before: []journaltest.Request{newQueue, newTopic, formRequest(url.Values{
				"Action": {"Subscribe"}, "TopicArn": topic, "Protocol": {"sqs"}, "Endpoint": {"arn:aws:sqs:us-east-1:000000000000:q"},
			}, ":t:")},
			Change: formRequest(url.Values{"Action": {"Publish"}, "TopicArn": topic, "Message": {"a message"}}, "MessageId"),
			Shows:  []journaltest.Request{receive},
		},
	} {
		test.Open = func(t *testing.T, dir string, fs journal.FS) journaltest.Server {
			t.Helper()
			s, err := Open(Options{Dir: dir, Logger: zerolog.Nop(), FS: fs})
			require.NoError(t, err)
			return journaltest.Server{Handler: s.Handler(), Health: HealthPath, Watch: s.watch, Close: s.Close}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.Run(t)
		})
	}
}

// putOnce puts an item unless it exists.
func putOnce(status int, text string) journaltest.Request {
	return jsonRequest("DynamoDB_20120810.PutItem",
		`{"TableName":"orders","Item":{"id":{"S":"o"}},"ConditionExpression":"attribute_not_exists(id)"}`, status, text)
}

func jsonRequest(target, body string, status int, text string) journaltest.Request {
	return journaltest.Request{
		Method: http.MethodPost, Path: "/", Header: map[string]string{"X-Amz-Target": target}, Body: body, Status: status, Text: text,
	}
}

func formRequest(form url.Values, text string) journaltest.Request {
	return journaltest.Request{Method: http.MethodPost, Path: "/", Body: form.Encode(), Status: http.StatusOK, Text: text}
}
