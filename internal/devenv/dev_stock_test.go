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

// TestDevTakesStockEvents: each counts once, and a bad one is a dead letter with
// its reason.
func TestDevTakesStockEvents(t *testing.T) {
	require.NoError(t, devenv.Dev{Exit: true, Out: io.Discard, Logger: zerolog.Nop(), Job: job(func(ctx context.Context, w *worker.Worker) error {
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
			if topic, q, err = clients.EnsureTopicQueue(ctx, lambda.TopicStockEvents, lambda.QueueStockEvents, events.TypeStockAdjusted); err != nil { // dev may not be there yet
				return err
			}
			if _, err := clients.SNS.Publish(ctx, &sns.PublishInput{TopicArn: &topic, Message: &body}); err != nil {
				return err
			}
		}
		pair := deadletter.Pair{Name: q.Name, URL: q.URL, DeadURL: q.DeadURL}
		testkit.Eventually(t, "stock is there, and the dead letter", func() error {
			l, err := store.GetLevel(ctx, "NEW")
			live, dead, err2 := pair.Depths(ctx, clients.SQS)
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			if l.Available != 25 || live.Visible+live.InFlight != 0 || dead.Visible != 1 {
				return fmt.Errorf("%+v, %+v, %+v dead", l, live, dead)
			}
			return nil
		})
		out, err := clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &q.DeadURL, MessageAttributeNames: []string{"All"}})
		if err != nil {
			return err
		}
		if reason := *out.Messages[0].MessageAttributes["Reason"].StringValue; !strings.Contains(reason, "lines[0].quantity: is 0") {
			return errors.New(reason)
		}
		return nil
	})}.Run(t.Context()))
}
