package components

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestShipmentsReachTheCarrier through the topic and the queue that setup has
// made, and Dapr makes no other.
func TestShipmentsReachTheCarrier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.entities(t)
	delivered := make(chan []byte, 10)
	carrier := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // the test looks at what there is
		if r.URL.Path == "/v1/shipment-events" {
			delivered <- b
		}
	}))
	c := w.dapr(t)
	worker := sidecar(t, c, daprlocal.App{ID: "ordersaga"})
	sidecar(t, c, daprlocal.App{ID: "carrier", Port: carrier})

	_, err := fetch(http.MethodPost, worker.HTTP+"/v1.0/publish/orderpubsub/ShipmentEvents", `{"type":"ShipmentRequested","shipmentId":"s-1"}`)
	require.NoError(t, err)
	got, err := events.Unwrap(events.Message{Body: <-delivered}, "ShipmentRequested")
	if err != nil || got.Kind != events.EnvelopeCloudEvent || string(got.Payload) != `{"shipmentId":"s-1","type":"ShipmentRequested"}` {
		t.Errorf("%+v %v", got, err)
	}
	testkit.Eventually(t, "the message is gone from its queue", func() error {
		if n := w.attributes(t, w.resources.CarrierRequests); n["ApproximateNumberOfMessages"] != "0" || n["ApproximateNumberOfMessagesNotVisible"] != "0" {
			return errors.New("it is there")
		}
		return nil
	})

	if _, err := fetch(http.MethodPost, worker.HTTP+"/v1.0/publish/orderpubsub/ShipmentEvent", `{}`); err == nil {
		t.Error("a misspelt topic was published to")
	}
	if after := w.entities(t); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// entities is all there is in AWS, with what matters of it.
func (w world) entities(t *testing.T) (all []string) {
	t.Helper()
	queues, err := w.clients.SQS.ListQueues(t.Context(), &sqs.ListQueuesInput{})
	require.NoError(t, err)
	for _, q := range queues.QueueUrls {
		a := w.attributes(t, q)
		all = append(all, "queue "+q+" "+a["RedrivePolicy"]+" "+a["Policy"]+" "+a["VisibilityTimeout"])
	}
	topics, err := w.clients.SNS.ListTopics(t.Context(), &sns.ListTopicsInput{})
	require.NoError(t, err)
	for _, topic := range topics.Topics {
		all = append(all, "topic "+*topic.TopicArn)
	}
	subs, err := w.clients.SNS.ListSubscriptions(t.Context(), &sns.ListSubscriptionsInput{})
	require.NoError(t, err)
	for _, s := range subs.Subscriptions {
		a, err := w.clients.SNS.GetSubscriptionAttributes(t.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: s.SubscriptionArn})
		require.NoError(t, err)
		b, err := json.Marshal(a.Attributes)
		require.NoError(t, err)
		all = append(all, "subscription "+string(b))
	}
	tables, err := w.clients.DynamoDB.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	require.NoError(t, err)
	for _, n := range tables.TableNames {
		all = append(all, "table "+n)
	}
	slices.Sort(all)
	return all
}

func (w world) attributes(t *testing.T, queue string) map[string]string {
	t.Helper()
	out, err := w.clients.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	require.NoError(t, err)
	return out.Attributes
}
