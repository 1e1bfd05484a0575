package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

func good() worker.Worker {
	return worker.Worker{
		AWS: cloud.Options{Region: "us-east-1"}, PaymentURL: "http://127.0.0.1:8090", PaymentTimeout: time.Second,
		MaxLive: 1, ShutdownTimeout: time.Second, Logger: zerolog.Nop(),
	}
}

func TestValidateReportsEveryInvalidSetting(t *testing.T) {
	w := good()
	require.NoError(t, w.Validate())
	for _, c := range []struct {
		want   string
		change func(*worker.Worker)
	}{
		{"AWS region must be set", func(w *worker.Worker) { w.AWS.Region = "" }},
		{`AWS endpoint "ftp://x" must be an http`, func(w *worker.Worker) { w.AWS.Endpoint = "ftp://x" }},
		{`AWS endpoint "127.0.0.1:4566" must be`, func(w *worker.Worker) { w.AWS.Endpoint = "127.0.0.1:4566" }},
		{`AWS endpoint "http://" must be`, func(w *worker.Worker) { w.AWS.Endpoint = "http://" }},
		{`table prefix "a/" must be of`, func(w *worker.Worker) { w.TablePrefix = "a/" }},
		{`payment URL "" must be`, func(w *worker.Worker) { w.PaymentURL = "" }},
		{`payment URL "nonsense" must be`, func(w *worker.Worker) { w.PaymentURL = "nonsense" }},
		{`payment URL "http://[" must be`, func(w *worker.Worker) { w.PaymentURL = "http://[" }},
		{`payment URL "http://a/?key=x" must have no query`, func(w *worker.Worker) { w.PaymentURL = "http://a/?key=x" }},
		{"payment timeout must be positive, is -1s", func(w *worker.Worker) { w.PaymentTimeout = -time.Second }},
		{"payment timeout must be positive, is 0s", func(w *worker.Worker) { w.PaymentTimeout = 0 }},
		{"approval limit must not be negative, is -5", func(w *worker.Worker) { w.Terms.ApprovalAbove = -5 }},
		{"approval timeout must be positive", func(w *worker.Worker) { w.Terms.ApprovalAbove = 5 }},
		{"approval timeout must not be negative", func(w *worker.Worker) { w.Terms.ApprovalTimeout = -1 }},
		{"carrier timeout must be positive", func(w *worker.Worker) { w.Terms.AwaitCarrier = true }},
		{"carrier timeout must not be negative", func(w *worker.Worker) { w.Terms.CarrierTimeout = -1 }},
		{"patience must not be negative", func(w *worker.Worker) { w.Terms.CompensationTimeout = -1 }},
		{"pace must be a number", func(w *worker.Worker) { w.Terms.TimeScale = -0.1 }},
		{"pace must be a number", func(w *worker.Worker) { w.Terms.TimeScale = math.NaN() }},
		{"pace must be a number", func(w *worker.Worker) { w.Terms.TimeScale = math.Inf(1) }},
		{"rate limit must not be negative, is -1", func(w *worker.Worker) { w.RateLimit = -1 }},
		{"max live sagas must be positive, is 0", func(w *worker.Worker) { w.MaxLive = 0 }},
		{"reconcile interval must not be negative", func(w *worker.Worker) { w.ReconcileEvery = -1 }},
		{"reconcile grace must not be negative", func(w *worker.Worker) { w.ReconcileGrace = -1 }},
		{"reconcile grace must be longer than a step may take: it is 3s, and the calls of a refund may take 3s (3 times " +
			"the payment timeout of 1s)", func(w *worker.Worker) { w.ReconcileGrace = 3 * time.Second }},
		{"reconcile grace must be longer than a step may take: it is 5m0s, and", func(w *worker.Worker) { w.PaymentTimeout = 2 * time.Minute }},
		{"shutdown timeout must be positive, is -1s", func(w *worker.Worker) { w.ShutdownTimeout = -time.Second }},
		{"retention must not be negative", func(w *worker.Worker) { w.Retention = -1 }},
		{"no sagas: requires Dapr", func(w *worker.Worker) { w.NoSagas = true }},
		{"canary interval must not be negative", func(w *worker.Worker) { w.Dapr = &worker.Dapr{CanaryEvery: -1} }},
	} {
		w := good()
		c.change(&w)
		if err := w.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error = %v, want one line that begins with %q", err, c.want)
		}
	}
	w.MaxLive, w.ShutdownTimeout = 0, 0
	if err := w.Validate(); err == nil || !strings.Contains(err.Error(), "is 0; shutdown timeout") {
		t.Errorf("two invalid settings: error = %v, want both", err)
	}
}

// TestMaxLiveBoundsIntake while the payment provider is down: the sagas in flight are
// bounded, though all of them back off, and the rest stays in the queue. Sagas that wait
// for an approval do not count.
func TestMaxLiveBoundsIntake(t *testing.T) {
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.MaxLive, w.Terms.TimeScale = 4, 10 }, nil)
	s.SetStock(t, map[string]int64{"A": 1000})
	publish := func(id string, price int64) {
		t.Helper()
		o := order.Order{
			OrderID: id, CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_down"},
			Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: price}},
		}
		require.NoError(t, intake.Publisher{Topic: snspublisher.New(s.Clients.SNS, s.Resources.OrderTopic)}.PublishOrder(t.Context(), o))
	}
	is := func(what string, want engine.Stats, queued string) {
		t.Helper()
		times := 0
		testkit.Eventually(t, what, func() error {
			st, err := s.Parts.Engine.Stats(t.Context())
			if err != nil {
				return err
			}
			out, err := s.Clients.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
				QueueUrl: &s.Resources.OrderQueue, AttributeNames: []types.QueueAttributeName{"All"},
			})
			if err != nil {
				return err
			}
			left := out.Attributes["ApproximateNumberOfMessages"]
			if st != want || left != queued {
				times = 0
				return fmt.Errorf("%+v, %s in the queue", st, left)
			}
			times++
			if times < 50 { // intake had its chance to continue
				return errors.New("it may not last")
			}
			return nil
		})
	}
	for n := range 10 {
		publish(fmt.Sprint("dear-", n), 200_000)
	}
	is("all wait for approval", engine.Stats{Live: 10, Waiting: 10, AwaitingExternal: 10}, "0")
	for n := range 10 {
		publish(fmt.Sprint("o-", n), 1)
	}
	is("four back off", engine.Stats{Live: 14, Waiting: 14, AwaitingExternal: 10}, "6")
}

// TestMaxLiveByOrders: where sagas are counted by their orders, from time to time, a burst
// starts no more of them than there is capacity for.
func TestMaxLiveByOrders(t *testing.T) {
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.NoIntake, w.MaxLive, w.Terms.TimeScale = true, 4, 10 }, nil)
	s.SetStock(t, map[string]int64{"A": 1000})
	for n := range 30 {
		o := order.Order{
			OrderID: fmt.Sprint("o-", n), CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_down"},
			Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}},
		}
		require.NoError(t, intake.Publisher{Topic: snspublisher.New(s.Clients.SNS, s.Resources.OrderTopic)}.PublishOrder(t.Context(), o))
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Worker.IntakeByOrder(ctx) }()
	var full time.Time
	testkit.Eventually(t, "as many are live as may be, and stay so", func() error {
		st, err := s.Parts.Engine.Stats(t.Context())
		require.NoError(t, err)
		switch {
		case st.Live > 4:
			t.Fatalf("%d sagas are live, want at most 4", st.Live)
		case st.Live < 4:
			return fmt.Errorf("%d are live", st.Live)
		case full.IsZero():
			full = time.Now()
		}
		if time.Since(full) < 3*time.Second { // until the next count, and after
			return errors.New("it may not last")
		}
		return nil
	})
	stop()
	require.NoError(t, <-ended)
}

// TestShutdownEndsInTime although intake is blocked in a call to an SQS that does not
// answer any more.
func TestShutdownEndsInTime(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	target, err := url.Parse(a.Endpoint)
	require.NoError(t, err)
	stuck, over := make(chan struct{}, 100), make(chan struct{})
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {} // long polls of clients that have disconnected
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DeleteMessageBatch") {
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the client go
			stuck <- struct{}{}
			select {
			case <-over:
			case <-r.Context().Done():
			}
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	t.Cleanup(func() { close(over) })

	w := good()
	w.AWS.Endpoint = front.URL
	w.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if _, err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	body := "poison"
	_, err = a.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &a.Resources.OrderQueue, MessageBody: &body})
	require.NoError(t, err)
	<-stuck
	stop()
	began := time.Now()
	select {
	case err := <-ended:
		if took := time.Since(began); err != nil || took > 8*time.Second { // the message comes again
			t.Errorf("Run returned %v after %s, want nil within 8s", err, took)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run did not return within 20s, want nil within 8s")
	}
}
