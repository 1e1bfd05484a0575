package testkit

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

// System is a complete system, as `ordersaga dev` runs it: a worker with its API, the
// simulators and a local AWS endpoint.
type System struct {
	AWS

	API        string // base URL
	Simulators devenv.Simulators
	Worker     *worker.Worker
	Parts      worker.Parts
	// StopWorker stops the worker and waits until it has ended. The end of the test does the
	// same. It may be called more than once.
	StopWorker func()
}

// NewSystem starts a system in memory, and stops it at the end of the test. change and
// changeAWS may be nil.
func NewSystem(t testing.TB, change func(*worker.Worker), changeAWS func(*awslocal.Options)) System {
	t.Helper()
	s := System{AWS: NewAWS(t, changeAWS)}
	payment, carrier, api := listen(t), listen(t), listen(t)
	s.API = "http://" + api.Addr().String()
	s.Simulators = devenv.Simulators{PaymentURL: "http://" + payment.Addr().String(), CarrierURL: "http://" + carrier.Addr().String()}
	options := cloud.Options{Region: "us-east-1", Endpoint: s.Endpoint}
	background(t, devenv.Payment{Listener: payment, Logger: zerolog.Nop()}.Run)
	background(t, devenv.Carrier{AWS: options, Listener: carrier, Logger: zerolog.Nop()}.Run)

	s.Worker = &worker.Worker{
		AWS: options, PaymentURL: s.Simulators.PaymentURL, PaymentTimeout: 2 * time.Second,
		Terms: workflows.Terms{
			ApprovalAbove: 100_000, ApprovalTimeout: time.Hour, AwaitCarrier: true, CarrierTimeout: time.Hour,
			CompensationTimeout: 500 * time.Millisecond, TimeScale: 0.005,
		},
		MaxLive: 1000, ShutdownTimeout: 10 * time.Second, Listener: api, Logger: zerolog.Nop(),
	}
	if change != nil {
		change(s.Worker)
	}
	var err error
	s.Parts, err = s.Worker.Open(context.Background())
	require.NoError(t, err)
	s.StopWorker = background(t, s.Worker.Run)
	return s
}

// background runs f until stop is called or the test ends, whichever is first.
func background(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("a part of the system failed: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// listen listens on a free port of 127.0.0.1.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// Eventually polls f until it returns nil, and stops the test after 30 seconds.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	require.EventuallyNoError(t, what, 30*time.Second, f)
}

// Within polls f until it returns nil, and stops the test when limit has passed.
func Within(t testing.TB, limit time.Duration, what string, f func() error) {
	t.Helper()
	require.EventuallyNoError(t, what, limit, f)
}
