package shipment_test

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var o = order.Order{
	OrderID: "o-1", CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: "tok_secret"},
	Lines:  []order.Line{{SKU: "B", Quantity: 1, UnitPrice: 5}, {SKU: "A", Quantity: 2}, {SKU: "B", Quantity: 3}},
	ShipTo: &order.Address{Name: "Ann", City: "Köln"},
}

// next receives and deletes the next message of a queue.
func next(t *testing.T, a testkit.AWS, url string) types.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		out, err := a.Clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &url, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"},
		})
		require.NoError(t, err)
		if len(out.Messages) == 1 {
			_, err := a.Clients.SQS.DeleteMessage(ctx, &sqs.DeleteMessageInput{
				QueueUrl: &url, ReceiptHandle: out.Messages[0].ReceiptHandle,
			})
			require.NoError(t, err)
			return out.Messages[0]
		}
	}
}

// wantAttributes expects the attributes of a message of order o-1, and no token in it.
func wantAttributes(t *testing.T, m types.Message, kind string) {
	t.Helper()
	if aws.ToString(m.MessageAttributes["type"].StringValue) != kind || aws.ToString(m.MessageAttributes["orderId"].StringValue) != "o-1" {
		t.Errorf("attributes = %v, want type %s and orderId o-1", m.MessageAttributes, kind)
	}
	if strings.Contains(*m.Body, "tok_secret") {
		t.Errorf("message = %s, want none with the payment token", *m.Body)
	}
}

func TestRequestShipmentPublishesTheRequest(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	q := a.Listen(t, "listener", a.Resources.ShipmentTopic)
	p := shipment.New(a.Clients.SNS, a.Resources.ShipmentTopic, a.Resources.CustomerTopic)
	for range 2 { // a repetition is the same request
		require.NoError(t, p.RequestShipment(t.Context(), o))
		m := next(t, a, q)
		wantAttributes(t, m, "ShipmentRequested")
		var got events.ShipmentRequest
		require.NoError(t, json.Unmarshal([]byte(*m.Body), &got))
		want := events.ShipmentRequest{
			SpecVersion: 1, Type: "ShipmentRequested", ShipmentID: shipment.ID("o-1"), OrderID: "o-1",
			Lines: []order.Demand{{SKU: "A", Quantity: 2}, {SKU: "B", Quantity: 4}}, ShipTo: o.ShipTo,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("message = %+v, want %+v", got, want)
		}
	}
}

func TestNotifyPublishesTheReason(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	q := a.Listen(t, "listener", a.Resources.CustomerTopic)
	p := shipment.New(a.Clients.SNS, a.Resources.ShipmentTopic, a.Resources.CustomerTopic)
	for kind, why := range map[events.NotificationKind]struct {
		code events.ReasonCode
		text string
	}{
		events.NotifyConfirmed: {}, events.NotifyDelayed: {},
		events.NotifyRejected:  {events.ReasonOutOfStock, "Something you ordered is out of stock."},
		events.NotifyDeclined:  {events.ReasonPaymentDeclined, "The payment was declined."},
		events.NotifyCancelled: {events.ReasonCancelledByShop, "The shop has cancelled the order."},
		events.NotifyRefunded:  {events.ReasonCancelledByCustomer, "You have cancelled the order."},
		events.NotifyFailed:    {events.ReasonTechnical, "A technical problem has kept the order from being carried out."},
	} {
		for range 2 {
			require.NoError(t, p.Notify(t.Context(), o, kind, why.code))
			m := next(t, a, q)
			wantAttributes(t, m, string(kind))
			var got events.Notification
			if err := json.Unmarshal([]byte(*m.Body), &got); err != nil {
				t.Fatal(err)
			}
			want := events.Notification{
				SpecVersion: 1, NotificationID: "o-1-" + string(kind), Type: kind,
				OrderID: "o-1", CustomerID: "c-1", ReasonCode: why.code, Reason: why.text,
			}
			if got != want {
				t.Errorf("message = %+v, want %+v", got, want)
			}
		}
	}
}

func TestPublishErrorNamesTheOrder(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	p := shipment.New(a.Clients.SNS, a.Resources.ShipmentTopic+"-gone", a.Resources.CustomerTopic+"-gone")
	for want, err := range map[string]error{
		"publish ShipmentRequested for order o-1: ": p.RequestShipment(t.Context(), o),
		"publish delayed for order o-1: ":           p.Notify(t.Context(), o, events.NotifyDelayed, ""),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error = %v, want one with the prefix %q", err, want)
		}
	}
}
