package cloudformation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/lambda"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

// TestRolesAreEnoughAndNoMore runs the demo on the stack's resources, works the
// API, and compares all calls with what the roles allow.
func TestRolesAreEnoughAndNoMore(t *testing.T) {
	w := newWorld(t, testkit.MiniStack)
	plain := w.clients(w.endpoint, region)
	store := orderstore.New(plain.DynamoDB, orderstore.TablesWithPrefix(""), nil)
	testkit.SetStock(t, store, devenv.Catalogue())
	recorder, carrier, keda := w.record(), w.record(), w.record()
	api := listen(t)
	system, sims := w.system(recorder.URL, carrier.URL, api)
	parts, err := system.Open(t.Context())
	require.NoError(t, err)
	stop := background(t, system.Run)

	var out bytes.Buffer
	err = devenv.Demo{Orders: 15, Out: &out}.Run(t.Context(), system, sims)
	if err != nil {
		t.Fatalf("demo: %v\n%s", err, out.String())
	}
	recorder.slow.Store(true)
	carrier.slow.Store(true)
	work(t, "http://"+api.Addr().String(), plain, parts.Resources)
	operate(t, parts)
	for _, url := range []string{parts.Resources.OrderQueue, parts.Resources.CarrierAnswers} { // as KEDA's scaler does
		_, err = w.clients(keda.URL, region).SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url})
		require.NoError(t, err)
	}
	stop()

	w.check("WorkerRole", "calls", recorder)
	w.check("CarrierRole", "calls", carrier)
	w.check("KedaRole", "calls", keda)
}

// system is a worker that does not run yet, and the simulators, each with its
// own AWS endpoint.
func (w world) system(endpoint, carrier string, api net.Listener) (system *worker.Worker, sims devenv.Simulators) {
	w.Helper()
	t := w.T
	payments, parcels := listen(t), listen(t)
	sims = devenv.Simulators{PaymentURL: "http://" + payments.Addr().String(), CarrierURL: "http://" + parcels.Addr().String()}
	background(t, devenv.Payment{Listener: payments, Logger: zerolog.Nop()}.Run)
	background(t, devenv.Carrier{AWS: cloud.Options{Region: region, Endpoint: carrier}, Listener: parcels, Logger: zerolog.Nop()}.Run)
	system = &worker.Worker{
		AWS: cloud.Options{Region: region, Endpoint: endpoint}, PaymentURL: sims.PaymentURL, PaymentTimeout: 2 * time.Second,
		Terms: workflows.Terms{
			ApprovalAbove: 100_000, ApprovalTimeout: time.Hour, AwaitCarrier: true, CarrierTimeout: time.Hour,
			CompensationTimeout: time.Second, TimeScale: 0.01,
		},
		MaxLive: 100, ShutdownTimeout: 20 * time.Second, Listener: api, Logger: zerolog.Nop(),
	}
	return system, sims
}

// work does through the API what operators and shops do.
func work(t *testing.T, base string, plain *cloud.Clients, r cloud.Resources) {
	t.Helper()
	call := func(method, path, body string) {
		t.Helper()
		require.NoError(t, fetch(t, method, base+path, body))
	}
	placed := `{"orderId":"%s","customerId":"c","currency":"EUR",` +
		`"lines":[{"sku":"SKU-1","quantity":1,"unitPrice":1}],"payment":{"token":"tok_ok"}}`
	call("POST", "/v1/orders", fmt.Sprintf(placed, "by-topic"))
	call("POST", "/v1/sagas", fmt.Sprintf(placed, "direct"))
	call("GET", "/v1/sagas", "")
	call("GET", "/v1/sagas?customer=c", "")
	call("GET", "/v1/overview", "")
	call("GET", "/v1/stock", "")
	api := client.Client{Base: base, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	require.NoError(t, api.On("").Call(t.Context(), http.MethodPut, "/v1/stock/SKU-NEW", map[string]int{"onHand": 100}, nil))
	call("POST", "/v1/reconcile", "")
	call("GET", "/readyz", "")
	for _, q := range r.Queues() {
		_, err := plain.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q.DeadURL, MessageBody: aws.String("{}")})
		require.NoError(t, err)
		call("GET", "/v1/dead-letters/"+q.Name, "")
		call("POST", "/v1/dead-letters/"+q.Name+"/redrive", `{}`)
	}
	testkit.Eventually(t, "what was redriven is a dead letter again", func() error { // that of each component
		for _, q := range r.Queues() {
			out, err := plain.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
				QueueUrl: &q.DeadURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
			})
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

// operate does what the system does on rare days, give back what an order that
// has ended still holds, and on busy ones, read many orders at once.
func operate(t *testing.T, p worker.Parts) {
	t.Helper()
	o := order.Order{
		OrderID: "leak", CustomerID: "c", Currency: "EUR",
		Lines: []order.Line{{SKU: "SKU-1", Quantity: 1}}, Payment: order.Payment{Token: "t"},
	}
	_, _, err := p.Store.Accept(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, p.Store.End(t.Context(), o.OrderID, order.StatusRejected, "by hand"))
	require.NoError(t, p.Store.Release(t.Context(), o.OrderID, order.StatusRejected, "by hand"))
	var reads errgroup.Group
	for range 50 {
		reads.Go(func() error {
			_, err := p.Store.Get(t.Context(), o.OrderID)
			return err
		})
	}
	require.NoError(t, reads.Wait())
}

// TestFunctionsProcessTheStacksQueues runs the zips of `make lambda` on the stack's functions and event
// sources, in an emulator whose Lambda and pollers are not our own.
func TestFunctionsProcessTheStacksQueues(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-C", root, "lambda").CombinedOutput()
	if err != nil {
		t.Fatalf("make lambda: %v\n%s", err, out)
	}
	w := begin(t, testkit.MiniStack)
	w.run(nil, "s3api", "create-bucket", "--bucket", "code", "--create-bucket-configuration", "LocationConstraint="+region)
	for _, name := range []string{"stock", "intake"} {
		zip := name + "-lambda.zip"
		w.run(nil, "s3api", "put-object", "--bucket", "code", "--key", zip, "--body", filepath.Join(root, "dist", zip))
	}
	stocks, intake := w.recordLater(), w.recordLater()
	api := listen(t)
	w.create("LambdaBucket=code", "IntakeApi=http://"+api.Addr().String())
	system, _ := w.system(w.endpoint, w.endpoint, api)
	system.NoIntake, system.Terms.AwaitCarrier = true, false
	parts, err := system.Open(t.Context())
	require.NoError(t, err)
	background(t, system.Run)
	w.function("ordersaga-stock", stocks)
	w.function("ordersaga-intake", intake)

	plain := w.clients(w.endpoint, region)
	publish := func(topic, body string) {
		_, err := plain.SNS.Publish(t.Context(), &sns.PublishInput{TopicArn: aws.String(arn("sns", topic)), Message: &body})
		require.NoError(t, err)
	}
	delivery := `{"type":"StockAdjusted","eventId":"dn-1","reason":"delivery","lines":[{"sku":"SKU-1","quantity":9}]}`
	publish(lambda.TopicStockEvents, delivery)
	publish(lambda.TopicStockEvents, delivery)
	level := func(want orderstore.Level) func() error {
		return func() error {
			got, err := parts.Store.GetLevel(t.Context(), "SKU-1")
			if err == nil && got != want {
				err = fmt.Errorf("%+v, want %+v", got, want)
			}
			return err
		}
	}
	empty := func(queue string) func() error {
		return func() error {
			q, err := plain.SQS.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &queue})
			if err != nil {
				return err
			}
			live, _, err := deadletter.Pair{URL: *q.QueueUrl, DeadURL: *q.QueueUrl}.Depths(t.Context(), plain.SQS)
			if err == nil && live.Visible+live.InFlight > 0 {
				err = fmt.Errorf("%s: %+v", queue, live)
			}
			return err
		}
	}
	testkit.Eventually(t, "stock is delivered", level(orderstore.Level{SKU: "SKU-1", Available: 9, Received: 9}))
	testkit.Eventually(t, "both messages are processed", empty(lambda.QueueStockEvents))
	publish(events.TopicOrderEvents, `{"orderId":"by-function","customerId":"c","currency":"EUR",`+
		`"lines":[{"sku":"SKU-1","quantity":2,"unitPrice":1}],"payment":{"token":"tok_ok"}}`)
	testkit.Eventually(t, "an order is sold", level(orderstore.Level{SKU: "SKU-1", Available: 7, Sold: 2, Received: 9}))
	testkit.Eventually(t, "its message is done", empty(events.QueueOrderProcessing))

	// What Lambda does itself with the roles:
	// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
	for queue, r := range map[string]*recorder{lambda.QueueStockEvents: stocks, events.QueueOrderProcessing: intake} {
		for _, action := range []string{"ReceiveMessage", "DeleteMessage", "GetQueueAttributes"} {
			r.add("sqs:"+action, arn("sqs", queue))
		}
		r.add("kms:Decrypt", r.key)
	}
	for name, r := range map[string]*recorder{"stock": stocks, "intake": intake} {
		r.add("logs:CreateLogStream", arn("logs", "log-group:/aws/lambda/ordersaga-"+name+":*"))
		r.add("logs:PutLogEvents", arn("logs", "log-group:/aws/lambda/ordersaga-"+name+":*"))
	}
	w.check("StockLambdaRole", "calls", stocks)
	w.check("IntakeLambdaRole", "calls", intake)
}

// function sends a function's calls through a recorder, and checks that its
// event source lets it fail in part.
func (w world) function(name string, r *recorder) {
	w.Helper()
	r.key = arn("kms", "key/"+w.resources()["MessagesKey"])
	var f struct {
		Environment struct{ Variables map[string]string }
	}
	w.run(&f, "lambda", "get-function-configuration", "--function-name", name)
	f.Environment.Variables["AWS_ENDPOINT_URL"] = r.URL
	env, err := json.Marshal(f.Environment)
	require.NoError(w, err)
	w.run(nil, "lambda", "update-function-configuration", "--function-name", name, "--environment", string(env))
	var sources struct {
		EventSourceMappings []struct {
			FunctionResponseTypes []string
			BatchSize             int
		}
	}
	w.run(&sources, "lambda", "list-event-source-mappings", "--function-name", name)
	if s := sources.EventSourceMappings; len(s) != 1 || len(s[0].FunctionResponseTypes) != 1 ||
		s[0].FunctionResponseTypes[0] != "ReportBatchItemFailures" || s[0].BatchSize != 10 {
		w.Errorf("%s: event sources = %+v, want one with batches of 10 that reports item failures", name, s)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
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
