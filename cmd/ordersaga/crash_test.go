package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// system is every part as a process of its own, on one data directory.
type system struct {
	t                                      *testing.T
	awsURL, paymentURL, carrierURL, apiURL string
	parts                                  []part        // in the order in which they start
	pace                                   time.Duration // between two orders
	quiet                                  atomic.Bool   // no orders are published
	outage                                 event         // of the state store
}

// Credentials of the payment provider, the app and the sidecars.
const providerKey, appToken, sidecarToken = "provider's", "app's", "sidecar's"

// part is a process that can be killed or stopped, and restarted on its state.
type part struct {
	name              string
	kill, quit, start func()
}

func (s *system) add(p *process) {
	p.start()
	s.parts = append(s.parts, part{p.name, p.kill, p.stop, p.start})
}

// newSystem starts everything but the workers.
func newSystem(t *testing.T, dir string, carrierArgs ...string) *system {
	t.Helper()
	aws, pay, car, api := at(freePort(t)), at(freePort(t)), at(freePort(t)), at(freePort(t))
	s := &system{t: t, awsURL: "http://" + aws, paymentURL: "http://" + pay, carrierURL: "http://" + car, apiURL: "http://" + api, pace: 4 * time.Millisecond}
	data := "--data-dir=" + filepath.Join(dir, "data")
	s.add(newProcess(t, dir, "local-aws", s.awsURL+awslocal.HealthPath, "local-aws", "--listen="+aws, data))
	s.add(newProcess(t, dir, "payment", s.paymentURL+"/healthz", "payment", "--listen="+pay, data, "--key="+providerKey))
	if status, _, stderr := ordersaga(t, "setup", "--aws-endpoint="+s.awsURL); status != 0 {
		t.Fatalf("setup: status %d, want 0: %s", status, stderr)
	}
	carrier := append([]string{"carrier", "--listen=" + car, data, "--aws-endpoint=" + s.awsURL}, carrierArgs...)
	s.add(newProcess(t, dir, "carrier", s.carrierURL+"/healthz", carrier...))
	return s
}

// worker starts a worker with its API at a base URL.
func (s *system) worker(dir, name, api string, more ...string) {
	s.t.Helper()
	s.add(newProcess(s.t, dir, name, api+"/healthz", append([]string{
		"worker", "--listen=" + strings.TrimPrefix(api, "http://"), "--aws-endpoint=" + s.awsURL,
		"--payment-timeout=1s", "--carrier-timeout=1h", "--patience=1h",
		"--reconcile-every=2s", "--reconcile-grace=4s",
	}, more...)...))
}

func embeddedSystem(t *testing.T) *system {
	dir := t.TempDir()
	s := newSystem(t, dir)
	s.worker(dir, "worker", s.apiURL, "--data-dir="+filepath.Join(dir, "data"), "--payment-url="+s.paymentURL, "--payment-key="+providerKey)
	return s
}

// daprSystem starts three workers, each with a sidecar, and workflow state in
// Redis with an append-only file.
func daprSystem(t *testing.T) *system {
	testkit.RequireDapr(t)
	dir := t.TempDir()
	s := newSystem(t, dir, "--pushed", "--app-api-token="+appToken)
	s.pace = 25 * time.Millisecond // what Dapr keeps up with
	redis := testkit.Redis(t)
	s.parts = append(s.parts, part{"redis", redis.Kill, redis.Kill, redis.Start})
	log, err := os.Create(filepath.Join(cmp.Or(os.Getenv("ORDERSAGA_CRASH_LOGS"), dir), "dapr.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() }) // for debugging only
	cluster, err := daprlocal.Start(t.Context(), daprlocal.Options{
		Dir: dir, AWSEndpoint: s.awsURL, Logger: zerolog.New(log).With().Timestamp().Logger(),
		State: daprlocal.State{Store: "redis", Address: redis.Address},
		Token: sidecarToken, AppToken: appToken, Secrets: map[string]string{worker.PaymentKeySecret: providerKey},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	s.outage = event{"redis is down for more than a minute, and a sidecar is killed meanwhile", func(flow func()) {
		redis.Kill()
		flow()
		s.quiet.Store(true) // otherwise the backlog takes minutes
		defer s.quiet.Store(false)
		if err := syscall.Kill(cluster.PID("daprd ordersaga-2"), syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		time.Sleep(65 * time.Second) // longer than any client retries
		redis.Start()
	}}
	add := func(name string) {
		s.parts = append(s.parts, part{name, func() { cluster.Kill(name) }, func() { cluster.Shutdown(name) }, func() {
			if err := cluster.Restart(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}})
	}
	watching := make(chan struct{})
	ctx, stopWatching := context.WithCancel(context.Background())
	t.Cleanup(func() {
		stopWatching()
		<-watching
	})
	add(daprlocal.Placement)
	add(daprlocal.Scheduler)
	sidecar := func(a daprlocal.App) *daprlocal.Sidecar {
		side, err := cluster.Sidecar(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		add("daprd " + a.Name)
		return side
	}
	sidecar(daprlocal.App{ID: cluster.Payment, Name: "payment", Port: portIn(s.paymentURL)})
	sidecar(daprlocal.App{ID: "carrier", Name: "carrier", Port: portIn(s.carrierURL)})
	for n, api := range []string{s.apiURL, "http://" + at(freePort(t)), "http://" + at(freePort(t))} {
		side := sidecar(daprlocal.App{ID: "ordersaga", Name: fmt.Sprint("ordersaga-", n+1)})
		s.worker(dir, fmt.Sprint("worker-", n+1), api, "--engine=dapr", "--dapr-api-token="+sidecarToken,
			fmt.Sprint("--dapr-grpc-port=", portIn(side.GRPC)), fmt.Sprint("--dapr-http-port=", portIn(side.HTTP)),
			"--payment-app="+cluster.Payment, "--canary-every=3s")
	}
	go func() { cluster.Watch(ctx); close(watching) }()
	return s
}

// event happens to a system while orders flow.
type event struct {
	name   string
	happen func(flow func())
}

func killing(p part) event { return event{p.name + " is killed", func(func()) { p.kill(); p.start() }} }

// killingAll kills all processes, as a power cut does.
func (s *system) killingAll() event {
	return event{"everything is killed", func(func()) {
		for _, p := range s.parts {
			p.kill()
		}
		for _, p := range s.parts {
			p.start()
		}
	}}
}

// scaling stops all workers but one, with their sidecars, and restarts them after
// some more orders.
func (s *system) scaling() event {
	return event{"scaled from 3 to 1 and back", func(flow func()) {
		stopped := s.parts[len(s.parts)-4:]
		for _, p := range slices.Backward(stopped) {
			p.quit()
		}
		flow()
		for _, p := range stopped {
			p.start()
		}
	}}
}

func portIn(address string) int {
	n, _ := strconv.Atoi(address[strings.LastIndex(address, ":")+1:]) // 0 is rejected when it is used
	return n
}

func (s *system) clients(t *testing.T) (*cloud.Clients, *orderstore.Store) {
	t.Helper()
	clients, err := cloud.New(t.Context(), cloud.Options{Region: "us-east-1", Endpoint: s.awsURL})
	if err != nil {
		t.Fatal(err)
	}
	return clients, orderstore.New(clients.DynamoDB, orderstore.TablesWithPrefix(""), nil)
}

// crashOrder returns the n-th order and its expected status; "" is any.
func crashOrder(n int) (order.Order, order.Status) {
	o := order.Order{
		OrderID: fmt.Sprintf("crash-%04d", n), CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines:  []order.Line{{SKU: "PLENTY", Quantity: 2, UnitPrice: 100}, {SKU: "ALSO-PLENTY", Quantity: 1, UnitPrice: 50}},
		ShipTo: &order.Address{Name: "Ada", Line1: "1 Lane", City: "Berlin", PostalCode: "10115", Country: "DE"},
	}
	switch n % 10 {
	case 1:
		o.Payment.Token = "tok_declined"
		return o, order.StatusDeclined
	case 2:
		o.ShipTo.Name = "REFUSE"
		return o, order.StatusFailed
	case 3:
		o.Payment.Token = "tok_flaky_2"
	case 4:
		o.Payment.Token = "tok_lost_response"
	case 5:
		o.Lines = append(o.Lines, order.Line{SKU: "SCARCE", Quantity: 1, UnitPrice: 10})
		return o, "" // some are in stock
	case 6:
		o.Lines = append(o.Lines, order.Line{SKU: "NONE", Quantity: 1, UnitPrice: 10})
		return o, order.StatusRejected
	}
	return o, order.StatusCompleted
}

// TestCrash kills processes with SIGKILL at random moments while orders flow.
// Every order must end as it would without crashes, and all records must agree.
func TestCrash(t *testing.T) {
	s := embeddedSystem(t)
	worker := s.parts[len(s.parts)-1]
	rng := random(t)
	var events []event
	for range fromEnv(t, "ORDERSAGA_CRASH_KILLS", 12) {
		if rng.IntN(3) == 0 {
			events = append(events, killing(s.parts[rng.IntN(len(s.parts))]))
		} else {
			events = append(events, killing(worker))
		}
	}
	crash(t, s, rng, events)
}

// TestCrashDapr does the same on Dapr and kills each process in turn: workers,
// sidecars, scheduler, placement, state store, simulators, and all of them at
// once. The state store also has a long outage.
func TestCrashDapr(t *testing.T) {
	s := daprSystem(t)
	rng := random(t)
	var events []event
	for range fromEnv(t, "ORDERSAGA_CRASH_ROUNDS", 1) {
		round := []event{s.killingAll(), s.scaling(), s.outage}
		for _, p := range s.parts {
			round = append(round, killing(p))
		}
		rng.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		events = append(events, round...)
	}
	crash(t, s, rng, events)
}

func random(t *testing.T) *rand.Rand {
	seed := uint64(fromEnv(t, "ORDERSAGA_CRASH_SEED", int(time.Now().UnixNano()&0x7fffffff)))
	t.Logf("ORDERSAGA_CRASH_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// crash publishes orders while the events happen, and checks all invariants
// afterwards.
func crash(t *testing.T, s *system, rng *rand.Rand, events []event) {
	t.Helper()
	clients, store := s.clients(t)
	resources, err := clients.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	testkit.SetStock(t, store, map[string]int64{"PLENTY": 1e6, "ALSO-PLENTY": 1e6, "SCARCE": 5, "NONE": 0})

	// Orders flow until the last kill.
	publishing, stop := context.WithCancel(t.Context())
	defer stop()
	published := make(chan int)
	var sent, until atomic.Int64 // orders: a bounded number between two events, for slow machines
	go func() {
		pub := intake.Publisher{Topic: snspublisher.New(clients.SNS, resources.OrderTopic)}
		n := 0
		tick := time.NewTicker(s.pace)
		defer tick.Stop()
		for publishing.Err() == nil {
			if s.quiet.Load() || sent.Load() >= until.Load() {
				<-tick.C
				continue
			}
			o, _ := crashOrder(n)
			if err := pub.PublishOrder(t.Context(), o); err == nil { // otherwise it is published again
				n++
				sent.Store(int64(n))
			}
			<-tick.C
		}
		published <- n
	}()
	flow := func() {
		before, atLeast := sent.Load(), int64(1+rng.IntN(40))
		until.Store(before + 100)
		moment := time.After(rand.N(300 * time.Millisecond))
		require.EventuallyNoError(t, "orders flow", 60*time.Second, func() error {
			if sent.Load() < before+atLeast {
				return errors.New("not enough orders yet")
			}
			return nil
		})
		<-moment
	}
	for _, e := range events {
		flow()
		t.Logf("after %d orders: %s", sent.Load(), e.name)
		e.happen(flow)
	}
	stop()
	n := <-published
	t.Logf("%d orders, %d events", n, len(events))

	ids := make([]string, n)
	for i := range n {
		o, want := crashOrder(i)
		ids[i] = o.OrderID
		require.EventuallyNoError(t, "order "+o.OrderID+" ends", 4*time.Minute, func() error {
			rec, err := store.Get(t.Context(), o.OrderID)
			if err != nil {
				return err
			}
			if !rec.Status.Terminal() {
				var saga, history strings.Builder
				_ = get(s.apiURL+"/v1/sagas/"+o.OrderID, &saga) // for the message only
				_ = get(s.apiURL+"/v1/sagas/"+o.OrderID+"/history", &history)
				return fmt.Errorf("is %s: %s %s", rec.Status, saga.String(), history.String())
			}
			if want != "" && rec.Status != want {
				t.Errorf("order %s ended %s (%s), want %s", o.OrderID, rec.Status, rec.Reason, want)
			}
			return nil
		})
	}
	require.EventuallyNoError(t, "no saga is left running", time.Minute, func() error {
		var b strings.Builder
		if err := get(s.apiURL+"/metrics", &b); err != nil {
			return err
		}
		if !strings.Contains(b.String(), "\nordersaga_sagas_live 0\n") {
			return errors.New("some sagas still run")
		}
		return nil
	})
	payments := payment.New(payment.Options{URL: s.paymentURL, Key: providerKey})
	defer payments.Close()
	sims := devenv.Simulators{
		PaymentURL: s.paymentURL, CarrierURL: s.carrierURL, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	res, err := invariants.Run(t.Context(), invariants.Sources{Orders: store, Charges: payments, Shipments: sims}, ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range res.Violations {
		t.Errorf("violation: %v, want none", v)
	}
	t.Logf("outcomes: %v", res.ByStatus)
	for _, p := range slices.Backward(s.parts) {
		p.quit()
	}
}

func fromEnv(t *testing.T, name string, usual int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return usual
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("environment variable %s: %v", name, err)
	}
	return n
}

func post(t *testing.T, url, body string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("POST %s: %s %s (error %v), want a status below 300", url, res.Status, b, err)
	}
}
