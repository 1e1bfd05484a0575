package hostile_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/carriersim"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/hostile"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

// scenario is the run of one seed: a whole system, its counterparts, the orders, and what
// clients and operators do about them.
type scenario struct {
	testing.TB
	testkit.AWS
	*hostile.World

	seed     uint64
	flood    bool // orders arrive faster than MaxLive admits them
	restart  bool // the worker stops in the middle, and another one takes over
	dice     *rand.Rand
	worker   *worker.Worker
	parts    worker.Parts
	api      client.Client
	provider *httptest.Server
	ledger   *payment.Client // reads the provider's ledger
	carrier  *carriersim.Carrier
	answers  hostile.Carrier
	proxy    *hostile.AWS

	stopWorker func()
	actions    sync.WaitGroup

	unpaid reconcile.Unpaid
	rests  int // 0 while the counterparts lie; then 1, and 1 more for each run of the reconciler

	mu       sync.Mutex
	orders   map[string]*placedOrder
	findings map[string][]string // of the reconciler, by order
	broken   []string            // violations
}

// stockOf is the stock on hand at the start, in units. No delivery follows.
var stockOf = map[string]int64{"PLENTY": 1000, "SCARCE": 6, "NONE": 0}

const (
	approvalAbove = 100_000
	patience      = 300 * time.Millisecond
	lies          = 1500 * time.Millisecond // the counterparts lie at most for this long
	maxRun        = 5 * time.Minute         // time limit of a run, on a busy machine
	stuckAfter    = 90 * time.Second        // without any change, the system is stuck
)

// play runs one seed: the counterparts lie, then are honest; once the system is at rest,
// all invariants are verified.
func play(t *testing.T, seed uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), maxRun)
	defer cancel()
	g := newScenario(t, seed)
	g.liePhase(ctx)
	g.Heal()
	g.actions.Wait()
	g.Note(hostile.Exchange{With: "----", Orders: slices.Collect(maps.Keys(g.orders)), Asked: "the lies end"})
	g.settle(ctx)
	g.verify(ctx)
	if len(g.broken) > 0 {
		g.report()
	}
}

// newScenario starts the system. The counterparts are still honest.
func newScenario(t testing.TB, seed uint64) *scenario {
	t.Helper()
	g := &scenario{
		TB: t, AWS: testkit.NewAWS(t, nil), World: &hostile.World{Seed: seed}, seed: seed,
		orders: map[string]*placedOrder{}, findings: map[string][]string{},
	}
	g.dice = g.Dice("game")
	share := func(of ...float64) float64 { return of[g.dice.IntN(len(of))] }
	g.Payment, g.Carrier, g.World.AWS = share(0, 0.2, 0.5, 0.8), share(0, 0.3, 0.7), share(0, 0, 0.02, 0.05)
	if g.dice.IntN(4) == 0 {
		at := time.Duration(g.dice.IntN(300)) * time.Millisecond
		g.SNSDown = [][2]time.Duration{{at, at + 400*time.Millisecond}}
	}
	g.flood = g.dice.IntN(8) == 0
	g.SetStock(t, stockOf)

	provider, err := paymentsim.Open(paymentsim.Options{HangFor: 2 * time.Second, Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, provider.Close()) })
	g.provider = httptest.NewServer(hostile.Provider(g.World, provider.Handler()))
	t.Cleanup(g.provider.Close)
	g.ledger = payment.New(payment.Options{URL: g.provider.URL, Timeout: 10 * time.Second})
	t.Cleanup(g.ledger.Close)

	g.answers = hostile.Carrier{SQS: g.Clients.SQS, World: g.World, Answers: g.Resources.CarrierAnswers}
	g.carrier, err = carriersim.Open(carriersim.Options{
		SQS: g.answers, RequestsURL: g.Resources.CarrierRequests, AnswersURL: g.Resources.CarrierAnswers,
		DLQURL: g.Resources.CarrierRequestsDLQ, Logger: zerolog.Nop(),
	})
	require.NoError(t, err)
	g.background(g.carrier.Run)

	g.proxy = &hostile.AWS{World: g.World, Truth: g.Handler, Hold: g.disconnectClients}
	front := httptest.NewServer(g.proxy)
	t.Cleanup(front.Close)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	pick := func(of ...time.Duration) time.Duration { return of[g.dice.IntN(len(of))] }
	g.worker = &worker.Worker{
		AWS: cloud.Options{Region: "us-east-1", Endpoint: front.URL}, PaymentURL: g.provider.URL, PaymentTimeout: 250 * time.Millisecond,
		Terms: workflows.Terms{
			ApprovalAbove: approvalAbove, ApprovalTimeout: pick(100*time.Millisecond, 300*time.Millisecond, time.Hour),
			AwaitCarrier: true, CarrierTimeout: pick(200*time.Millisecond, time.Hour), CompensationTimeout: patience, TimeScale: 0.002,
		},
		MaxLive: 1000, ShutdownTimeout: time.Minute, Listener: l, Logger: zerolog.Nop(),
	}
	if g.flood {
		g.worker.MaxLive, g.worker.Terms.AwaitCarrier, g.worker.Terms.ApprovalAbove = 2, false, 0
		// The counterparts are honest, so that the reconciler is quick.
		g.Payment, g.Carrier, g.World.AWS, g.SNSDown = 0, 0, 0, nil
		g.Slow, g.worker.PaymentTimeout = 150*time.Millisecond, 2*time.Second
	}
	g.restart = !g.flood && g.dice.IntN(6) == 0
	if g.restart && g.dice.IntN(2) == 0 {
		g.worker.DataDir = t.TempDir() // else the restart loses the engine's state
	}
	g.parts, err = g.worker.Open(t.Context())
	require.NoError(t, err)
	g.stopWorker = g.background(g.worker.Run)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	g.api = client.Client{Base: "http://" + l.Addr().String(), HTTP: &http.Client{Transport: transport}}
	return g
}

// background runs f until stop is called or the test ends.
func (g *scenario) background(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			g.Errorf("background task failed: %v", err)
		}
	})
	g.Cleanup(stop)
	return stop
}

// violated records a violation, once.
func (g *scenario) violated(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := fmt.Sprintf(format, args...); !slices.Contains(g.broken, v) {
		g.broken = append(g.broken, v)
	}
}

// report fails the test with the violations and the exchanges about their orders.
func (g *scenario) report() {
	text := strings.Join(g.broken, "\n")
	about := hostile.OrdersIn(text)
	if len(about) == 0 {
		about = slices.Sorted(maps.Keys(g.orders))
	}
	if len(about) > 3 {
		about = about[:3]
	}
	g.Errorf("seed %d (payment lies in %.0f%%, carrier in %.0f%%, AWS in %.0f%%; flood %t; approval within %s, carrier within %s), "+
		"want none of:\n%s\n\n"+
		"exchanges about %s (replay: go test ./internal/hostile -seed %d):\n%s",
		g.seed, 100*g.Payment, 100*g.Carrier, 100*g.World.AWS, g.flood, g.worker.Terms.ApprovalTimeout, g.worker.Terms.CarrierTimeout,
		text, strings.Join(about, ", "), g.seed, g.About(about...))
}
