package lambda

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/lambda"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// shop is the stock function on a local AWS endpoint, with a queue that receives its events.
type shop struct {
	testkit.AWS

	t                    testing.TB
	f                    *function
	source               *source
	topic                string
	queue, dlq, listener string
	ready                atomic.Bool // newShop has finished, so the fault function may use the fields
}

func newShop(t testing.TB, receives int, fault func(*shop) awslocal.Fault) *shop {
	t.Helper()
	s := &shop{t: t}
	s.AWS = testkit.NewAWS(t, func(o *awslocal.Options) {
		if fault != nil {
			o.Fault = fault(s)
		}
	})
	require.NoError(t, orderstore.NewAdjuster(s.Store, "").CreateTable(t.Context()))
	topic := func(name string) string {
		out, err := s.Clients.SNS.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name})
		require.NoError(t, err)
		return *out.TopicArn
	}
	levels := topic(lambda.TopicStockLevels)
	s.topic = topic(lambda.TopicStockEvents)
	s.listener = s.Listen(t, "listener", levels)
	s.queue, s.dlq = queue(t, s.Clients, lambda.QueueStockEvents, receives)
	_, err := s.Clients.SNS.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: &s.topic, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:" + lambda.QueueStockEvents),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	require.NoError(t, err)
	s.f = newFunction(t, "stock-lambda", s.Endpoint, 30*time.Second, "STOCK_LEVELS_TOPIC_ARN="+levels)
	s.source = &source{clients: s.Clients, queue: s.queue, f: s.f, seen: map[string]int{}}
	s.ready.Store(true)
	return s
}

// adjusted returns a StockAdjusted event.
func adjusted(id string, reason events.StockReason, lines ...events.StockLine) string {
	b, err := json.Marshal(events.StockAdjusted{Type: events.TypeStockAdjusted, EventID: id, Reason: reason, Lines: lines})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (s *shop) publish(bodies ...string) {
	s.t.Helper()
	for _, b := range bodies {
		_, err := s.Clients.SNS.Publish(s.t.Context(), &sns.PublishInput{TopicArn: &s.topic, Message: &b})
		require.NoError(s.t, err)
	}
}

// settled waits until all messages are processed or, so many of them, dead-lettered.
func (s *shop) settled(dead int) {
	s.t.Helper()
	testkit.Within(s.t, time.Minute, "the queue is empty", func() error {
		n, err := depth(s.t.Context(), s.Clients, s.queue)
		d, err2 := depth(s.t.Context(), s.Clients, s.dlq)
		if n != 0 || d != dead {
			err = fmt.Errorf("%d messages, %d dead letters", n, d)
		}
		return errors.Join(err, err2)
	})
}

// published returns the events that the function has published: by type and event id, the
// available units, and how often the event was received.
func (s *shop) published() (available map[string]int64, times map[string]int) {
	s.t.Helper()
	available, times = map[string]int64{}, map[string]int{}
	for {
		out, err := s.Clients.SQS.ReceiveMessage(s.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &s.listener, MaxNumberOfMessages: 10, VisibilityTimeout: 60,
		})
		require.NoError(s.t, err)
		if len(out.Messages) == 0 {
			return available, times
		}
		for _, m := range out.Messages {
			var e events.StockChanged // LowStock has these fields too
			require.NoError(s.t, json.Unmarshal([]byte(*m.Body), &e))
			id := e.Type + " " + e.EventID
			times[id]++
			available[id] = e.Available
		}
	}
}

func (s *shop) wantLevels(want ...orderstore.Level) {
	s.t.Helper()
	for _, w := range want {
		if got, err := s.Store.GetLevel(s.t.Context(), w.SKU); err != nil || got != w {
			s.t.Errorf("stock level = %+v (error %v), want %+v", got, err, w)
		}
	}
}

func TestStockFunctionAppliesEachAdjustmentOnce(t *testing.T) {
	const receives = 3
	s := newShop(t, receives, nil)
	s.SetStock(t, map[string]int64{"A": 20, "B": 5})
	line := func(sku string, quantity int64) events.StockLine {
		return events.StockLine{SKU: sku, Quantity: quantity}
	}
	delivery := adjusted("dn-1", events.Delivery, line("A", 100), line("NEW", 7))
	invalid := []string{
		adjusted("lost-2", events.Correction, line("A", 1), line("B", -60)), // below zero
		adjusted("dn-1", events.Delivery, line("A", 999)),                   // another event with a used id
		`{"type":"StockAdjusted","eventId":"?"`,
		adjusted("typo", "gift", line("A", 1)),
	}
	s.publish(delivery, delivery)
	s.publish(invalid...)
	s.publish(delivery,
		adjusted("back-1", events.Restock, line("B", 4)),
		adjusted("lost-1", events.Correction, line("B", -3)))
	background(t, s.source.run)
	s.settled(len(invalid))

	s.wantLevels(
		orderstore.Level{SKU: "A", Available: 120, Received: 120, Counts: 1},
		orderstore.Level{SKU: "B", Available: 6, Received: 6, Counts: 1},
		orderstore.Level{SKU: "NEW", Available: 7, Received: 7},
	)
	available, times := s.published()
	want := map[string]int64{
		"StockChanged dn-1/A": 120, "StockChanged dn-1/NEW": 7, "LowStock dn-1/NEW/low": 7,
		"StockChanged back-1/B": 9, "LowStock back-1/B/low": 9, "StockChanged lost-1/B": 6, "LowStock lost-1/B/low": 6,
	}
	for id, n := range want {
		if available[id] != n || times[id] != 1 {
			t.Errorf("%s: %d units available, published %d times; want %d units, once", id, available[id], times[id], n)
		}
	}
	if len(available) != len(want) {
		t.Errorf("published %v, want only %v", available, want)
	}
	s.source.mu.Lock()
	defer s.source.mu.Unlock()
	for _, b := range invalid {
		if n := s.source.seen[b]; n != receives {
			t.Errorf("%s: delivered %d times, want %d", b, n, receives)
		}
	}
	if n := s.source.seen[delivery]; n != 3 || s.source.partial == 0 || s.source.broken != 0 || s.f.started() != 1 {
		t.Errorf("3 messages: %d deliveries, %d partial batches, %d without response, %d starts; want 3, some, 0, 1",
			n, s.source.partial, s.source.broken, s.f.started())
	}
	for _, reason := range []string{
		"lines[1].quantity: is -60, and B has fewer units available", "already used by a different stock event",
		"unexpected EOF", `reason: is \"gift\"`,
	} {
		if !strings.Contains(s.f.log.String(), reason) {
			t.Errorf("want %q in the log: %s", reason, s.f.log.String())
		}
	}
	if strings.Contains(s.f.log.String(), `\"eventId\":`) {
		t.Error("the log contains bodies of messages, want none")
	}
}

// TestStockFunctionSurvivesCrashes kills the function in the middle of batches: before the
// ledger's transaction, between it and the published events, and before the batch's response.
func TestStockFunctionSurvivesCrashes(t *testing.T) {
	var calls, crashes atomic.Int32
	s := newShop(t, 20, func(s *shop) awslocal.Fault {
		return func(service, operation string) error {
			mine := service == "sns" && operation == "Publish" || operation == "TransactWriteItems" || operation == "UpdateItem"
			if !s.ready.Load() || !mine {
				return nil
			}
			if n := calls.Add(1); n >= 30 && n%13 == 0 && crashes.Add(1) <= 4 {
				s.f.kill()
			}
			return nil // the request has its effect, but the function does not receive the response
		}
	})
	const n = 20
	for i := range n {
		s.publish(adjusted(fmt.Sprintf("dn-%d", i), events.Delivery,
			events.StockLine{SKU: "A", Quantity: 1}, events.StockLine{SKU: "B", Quantity: 100}))
	}
	background(t, s.source.run)
	s.settled(0)
	s.wantLevels(
		orderstore.Level{SKU: "A", Available: n, Received: n},
		orderstore.Level{SKU: "B", Available: 100 * n, Received: 100 * n},
	)
	_, times := s.published()
	for i := range n {
		for _, sku := range []string{"A", "B"} {
			if id := fmt.Sprintf("StockChanged dn-%d/%s", i, sku); times[id] == 0 {
				t.Errorf("%s was not published, want it at least once", id)
			}
		}
	}
	if s.f.started() < 3 {
		t.Errorf("the function was killed %d times, want at least 2", s.f.started()-1)
	}
	t.Logf("%d starts, %d batches without response", s.f.started(), s.source.broken)
}

// BenchmarkColdStart measures the time from the start of the process to its first response, for
// an empty batch and for one event.
func BenchmarkColdStart(b *testing.B) {
	s := newShop(b, 20, nil)
	one := adjusted("e", events.Restock, events.StockLine{SKU: "A", Quantity: 1})
	for name, body := range map[string]string{"no messages": "", "one message": one} {
		var event awsevents.SQSEvent
		if body != "" {
			event.Records = []awsevents.SQSMessage{{MessageId: "m", Body: body}}
		}
		payload, err := json.Marshal(event)
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				s.f.kill()
				began := time.Now()
				_, err := s.f.invoke(payload)
				took = append(took, time.Since(began))
				require.NoError(b, err)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/cold-p50")
			began := time.Now()
			_, err := s.f.invoke(payload)
			require.NoError(b, err)
			b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms/warm")
			info, err := os.Stat(filepath.Join(binaries, "stock-lambda"))
			require.NoError(b, err)
			b.ReportMetric(float64(info.Size())/1e6, "MB/binary")
		})
	}
}
