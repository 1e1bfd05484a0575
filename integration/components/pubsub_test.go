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
		b, _ := io.ReadAll(r.Body) // an incomplete body fails the test below
		if r.URL.Path == "/v1/shipment-events" {
			delivered <- b
		}
	}))
	c := w.dapr(t)
	worker := sidecar(t, c, daprlocal.App{ID: "ordersaga"})
	sidecar(t, c, daprlocal.App{ID: "carrier", Port: carrier})

	publish := worker.HTTP + "/v1.0/publish/orderpubsub/"
	_, err := fetch(http.MethodPost, publish+"ShipmentEvents", `{"type":"ShipmentRequested","shipmentId":"s-1"}`)
	require.NoError(t, err)
	got, err := events.Unwrap(events.Message{Body: <-delivered}, "ShipmentRequested")
	if err != nil || got.Kind != events.EnvelopeCloudEvent || string(got.Payload) != `{"shipmentId":"s-1","type":"ShipmentRequested"}` {
		t.Errorf("delivered event = %+v (error %v), want the published one as a CloudEvent", got, err)
	}
	testkit.Eventually(t, "the message is deleted from its queue", func() error {
		n := w.attributes(t, w.resources.CarrierRequests)
		if n["ApproximateNumberOfMessages"] != "0" || n["ApproximateNumberOfMessagesNotVisible"] != "0" {
			return errors.New("the queue is not empty")
		}
		return nil
	})

	if _, err := fetch(http.MethodPost, publish+"ShipmentEvent", `{}`); err == nil {
		t.Error("publishing to a misspelt topic succeeded, want an error")
	}
	if after := w.entities(t); !slices.Equal(before, after) {
		t.Errorf("Dapr has changed resources in AWS to\n%s\nwant\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
}

// entities lists all resources in AWS with their important attributes.
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
		in := &sns.GetSubscriptionAttributesInput{SubscriptionArn: s.SubscriptionArn}
		a, err := w.clients.SNS.GetSubscriptionAttributes(t.Context(), in)
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
	out, err := w.clients.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &queue, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	require.NoError(t, err)
	return out.Attributes
}
