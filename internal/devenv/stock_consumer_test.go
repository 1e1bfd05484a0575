package devenv_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/lambda"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

type job func(context.Context, *worker.Worker) error

func (j job) Run(ctx context.Context, w *worker.Worker, _ devenv.Simulators) error { return j(ctx, w) }

// TestDevAppliesStockEventsOnce also verifies that an invalid event becomes a
// dead letter with its reason.
func TestDevAppliesStockEventsOnce(t *testing.T) {
	check := job(func(ctx context.Context, w *worker.Worker) error {
		clients, err := cloud.New(ctx, w.AWS)
		if err != nil {
			return err
		}
		store := orderstore.New(clients.DynamoDB, orderstore.TablesWithPrefix(""), nil)
		var q cloud.Queue
		for _, body := range []string{
			`{"type":"StockAdjusted","eventId":"dn-1","reason":"delivery","lines":[{"sku":"NEW","quantity":25}]}`,
			`{"type":"StockAdjusted","eventId":"dn-1","reason":"delivery","lines":[{"sku":"NEW","quantity":25}]}`,
			`{"type":"StockAdjusted","eventId":"dn-2","reason":"delivery","lines":[{"sku":"NEW","quantity":0}]}`,
		} {
			var topic string
			// Dev may not have created them yet.
			topic, q, err = clients.EnsureTopicQueue(ctx, lambda.TopicStockEvents, lambda.QueueStockEvents, events.TypeStockAdjusted)
			if err != nil {
				return err
			}
			if _, err := clients.SNS.Publish(ctx, &sns.PublishInput{TopicArn: &topic, Message: &body}); err != nil {
				return err
			}
		}
		pair := deadletter.Pair{Name: q.Name, URL: q.URL, DeadURL: q.DeadURL}
		testkit.Eventually(t, "25 units available and one dead letter", func() error {
			l, err := store.GetLevel(ctx, "NEW")
			live, dead, err2 := pair.Depths(ctx, clients.SQS)
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			if l.Available != 25 || live.Visible+live.InFlight != 0 || dead.Visible != 1 {
				return fmt.Errorf("level = %+v, queue = %+v, dead letters = %+v", l, live, dead)
			}
			return nil
		})
		out, err := clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &q.DeadURL, MessageAttributeNames: []string{"All"},
		})
		if err != nil {
			return err
		}
		if reason := *out.Messages[0].MessageAttributes["Reason"].StringValue; !strings.Contains(reason, "lines[0].quantity: is 0") {
			return fmt.Errorf("reason of the dead letter = %q, want that a quantity is 0", reason)
		}
		return nil
	})
	require.NoError(t, devenv.Dev{Exit: true, Out: io.Discard, Logger: zerolog.Nop(), Job: check}.Run(t.Context()))
}
