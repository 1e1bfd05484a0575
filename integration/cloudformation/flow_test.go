package cloudformation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/app"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/workflows"
)

// TestRolesAreEnoughAndNoMore runs the demo on the stack's resources, works the
// API, and compares all calls with what the roles allow.
func TestRolesAreEnoughAndNoMore(t *testing.T) {
	w := newWorld(t, testkit.MiniStack)
	plain := w.clients(w.endpoint, region)
	store := stock.New(plain.DynamoDB, stock.TablesWithPrefix(""), nil)
	for sku, n := range app.Catalogue() {
		_, err := store.SetAvailable(t.Context(), sku, n)
		must(t, err)
	}
	worker, carrier, keda := w.record(), w.record(), w.record()
	payments, parcels, api := listen(t), listen(t), listen(t)
	base := "http://" + api.Addr().String()
	sims := app.Simulators{PaymentURL: "http://" + payments.Addr().String(), CarrierURL: "http://" + parcels.Addr().String()}
	background(t, app.Payment{Listener: payments, Logger: zerolog.Nop()}.Run)
	background(t, app.Carrier{AWS: cloud.Options{Region: region, Endpoint: carrier.URL}, Listener: parcels, Logger: zerolog.Nop()}.Run)
	system := &app.Worker{
		AWS: cloud.Options{Region: region, Endpoint: worker.URL}, PaymentURL: sims.PaymentURL, PaymentTimeout: 2 * time.Second,
		Terms: workflows.Terms{
			ApprovalAbove: 100_000, ApprovalTimeout: time.Hour, AwaitCarrier: true, CarrierTimeout: time.Hour,
			Patience: time.Second, Pace: 0.01,
		},
		MaxLive: 100, ShutdownTimeout: 20 * time.Second, Listener: api, Logger: zerolog.Nop(),
	}
	parts, err := system.Open(t.Context())
	must(t, err)
	stop := background(t, system.Run)

	var out bytes.Buffer
	err = app.Demo{Orders: 15, Out: &out}.Run(t.Context(), system, sims)
	if err != nil {
		t.Fatalf("demo: %v\n%s", err, out.String())
	}
	worker.slow.Store(true)
	carrier.slow.Store(true)
	work(t, base, plain, parts.Resources)
	operate(t, parts)
	_, err = w.clients(keda.URL, region).SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &parts.Resources.OrderQueue}) // as KEDA's scaler does
	must(t, err)
	stop()

	w.check("WorkerRole", worker)
	w.check("CarrierRole", carrier)
	w.check("KedaRole", keda)
}

// work does through the API what operators and shops do.
func work(t *testing.T, base string, plain *cloud.Clients, r cloud.Resources) {
	t.Helper()
	call := func(method, path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		must(t, err)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		answer, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil || res.StatusCode >= 300 {
			t.Fatalf("%s %s: %s %v\n%s", method, path, res.Status, err, answer)
		}
	}
	placed := `{"orderId":"%s","customerId":"c","currency":"EUR","lines":[{"sku":"SKU-1","quantity":1,"unitPrice":1}],"payment":{"token":"tok_ok"}}`
	call("POST", "/v1/orders", fmt.Sprintf(placed, "by-topic"))
	call("POST", "/v1/sagas", fmt.Sprintf(placed, "direct"))
	call("GET", "/v1/sagas", "")
	call("GET", "/v1/sagas?customer=c", "")
	call("GET", "/v1/overview", "")
	call("GET", "/v1/stock", "")
	call("PUT", "/v1/stock/SKU-1", `{"available":100}`)
	call("POST", "/v1/reconcile", "")
	call("GET", "/readyz", "")
	for _, q := range r.Queues() {
		_, err := plain.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q.DeadURL, MessageBody: aws.String("{}")})
		must(t, err)
		call("GET", "/v1/dead-letters/"+q.Name, "")
		call("POST", "/v1/dead-letters/"+q.Name+"/redrive", `{}`)
	}
	testkit.Eventually(t, "what was redriven is a dead letter again", func() error { // that of each component
		for _, q := range r.Queues() {
			out, err := plain.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &q.DeadURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
			if err != nil {
				return err
			}
			if out.Attributes["ApproximateNumberOfMessages"] == "0" {
				return errors.New(q.Name)
			}
		}
		return nil
	})
}

// operate does what the system does on rare days: give back what an order that
// has ended still holds, and mend what a consumer could not handle at first.
func operate(t *testing.T, p app.Parts) {
	t.Helper()
	o := order.Order{OrderID: "leak", CustomerID: "c", Currency: "EUR", Lines: []order.Line{{SKU: "SKU-1", Quantity: 1}}, Payment: order.Payment{Token: "t"}}
	_, _, err := p.Store.Accept(t.Context(), o)
	must(t, err)
	must(t, p.Store.End(t.Context(), o.OrderID, order.StatusRejected, "by hand"))
	must(t, p.Store.Release(t.Context(), o.OrderID, order.StatusRejected, "by hand"))
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	return l
}

// background runs f until stop, or the end of the test.
func background(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	var once bool
	stop = func() {
		if once {
			return
		}
		once = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}
