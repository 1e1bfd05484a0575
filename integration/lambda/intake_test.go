package lambda

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestIntakeFunctionSurvivesFailuresAndKills processes the order queue for a worker without intake. The API fails now and
// then, and the function is killed in the middle of batches.
func TestIntakeFunctionSurvivesFailuresAndKills(t *testing.T) {
	const receives = 8
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.NoIntake, w.Terms.AwaitCarrier = true, false }, nil)
	s.SetStock(t, map[string]int64{"A": 1000})
	_, err := s.Clients.SQS.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: &s.Resources.OrderQueue,
		Attributes: map[string]string{
			"VisibilityTimeout": "2", "RedrivePolicy": redrivePolicy(events.QueueOrderProcessingDLQ, receives),
		},
	})
	require.NoError(t, err)

	var running atomic.Pointer[function]
	var calls atomic.Int32
	target, err := url.Parse(s.API)
	require.NoError(t, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch calls.Add(1) {
		case 4: // crash before the saga is started
			running.Load().kill()
			panic(http.ErrAbortHandler)
		case 9: // crash after it
			forward.ServeHTTP(httptest.NewRecorder(), r)
			running.Load().kill()
		case 12, 13:
			http.Error(w, "not now", http.StatusServiceUnavailable)
		default:
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(proxy.Close)
	f := newFunction(t, "intake-lambda", s.Endpoint, 5*time.Second, "ORDERSAGA_API="+proxy.URL)
	running.Store(f)
	source := &source{clients: s.Clients, queue: s.Resources.OrderQueue, f: f, seen: map[string]int{}}

	placed := func(id, sku string) string {
		return fmt.Sprintf(`{"orderId":%q,"customerId":"c","currency":"EUR",`+
			`"lines":[{"sku":%q,"quantity":1,"unitPrice":5}],"payment":{"token":"tok_ok"}}`, id, sku)
	}
	const n = 15
	var bodies []string
	for i := range n {
		bodies = append(bodies, placed(fmt.Sprintf("o-%d", i), "A"))
	}
	bodies = append(bodies, bodies[0], bodies[n-1]) // duplicates
	bodies = append(bodies, placed("no sku", "A"))
	// Sent to the queue, because the subscription's filter would drop invalid JSON.
	_, err = s.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &s.Resources.OrderQueue, MessageBody: aws.String(`{"orderId":`),
	})
	require.NoError(t, err)
	for _, b := range bodies {
		_, err := s.Clients.SNS.Publish(t.Context(), &sns.PublishInput{TopicArn: &s.Resources.OrderTopic, Message: &b})
		require.NoError(t, err)
	}
	background(t, source.run)
	testkit.Within(t, 2*time.Minute, "all orders are completed", func() error {
		for i := range n {
			rec, err := s.Store.Get(t.Context(), fmt.Sprintf("o-%d", i))
			if err == nil && rec.Status != order.StatusCompleted {
				err = fmt.Errorf("o-%d is %s", i, rec.Status)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	other := placed("o-0", "B") // another order with a used id
	_, err = s.Clients.SNS.Publish(t.Context(), &sns.PublishInput{TopicArn: &s.Resources.OrderTopic, Message: &other})
	require.NoError(t, err)
	testkit.Within(t, 2*time.Minute, "the queue is empty, with three dead letters", func() error {
		live, err := depth(t.Context(), s.Clients, s.Resources.OrderQueue)
		dead, err2 := depth(t.Context(), s.Clients, s.Resources.OrderDLQ)
		if live != 0 || dead != 3 {
			err = fmt.Errorf("%d messages, %d dead letters", live, dead)
		}
		return errors.Join(err, err2)
	})
	l, err := s.Store.GetLevel(t.Context(), "A")
	if err != nil || l.Sold != n || l.Available != 1000-n {
		t.Errorf("stock level = %+v (error %v), want %d sold", l, err, n)
	}
	source.mu.Lock()
	defer source.mu.Unlock()
	if f.started() != 3 || source.broken != 2 || source.partial == 0 {
		t.Errorf("%d starts, %d batches without response, %d partial batches; want 3, 2 and some",
			f.started(), source.broken, source.partial)
	}
	for _, reason := range []string{
		"orderId: must be", "is not an OrderPlaced event in JSON", "the API returned 503",
		"the API returned 409",
	} {
		if !strings.Contains(f.log.String(), reason) {
			t.Errorf("want %q in the log: %s", reason, f.log.String())
		}
	}
	if strings.Contains(f.log.String(), "tok_ok") {
		t.Error("the log contains a payment token, want none")
	}
}
