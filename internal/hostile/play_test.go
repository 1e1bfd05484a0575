package hostile_test

import (
	"context"
	"encoding/json"
	"errors"
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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/carriersim"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/hostile"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// game is one seed's run.
type game struct {
	testing.TB
	testkit.AWS
	*hostile.World

	seed     uint64
	flood    bool // orders come faster than they are let in
	restart  bool // the worker ends in the middle, and another one goes on
	dice     *rand.Rand
	worker   *worker.Worker
	parts    worker.Parts
	api      client.Client
	provider *httptest.Server
	books    *payment.Client
	carrier  *carriersim.Carrier
	answers  hostile.Carrier
	proxy    *hostile.AWS

	stopWorker func()
	acts       sync.WaitGroup

	unpaid reconcile.Unpaid
	rests  int // 1 and more: how often the reconciler has run since the lies

	mu       sync.Mutex
	orders   map[string]*script
	findings map[string][]string // of the reconciler, by order
	broken   []string
}

// script is an order and what people do about it.
type script struct {
	order order.Order
	cues  []cue

	leaves   bool               // its client goes away when OrderPlaced is published
	leave    context.CancelFunc // nil: it has not come, or has left
	accepted bool               // its client has been told so
	decided  []decision         // what people were told about it
	acted    time.Time          // when somebody last did something about it after the lies
}

// cue is something that people do, once.
type cue struct {
	when order.Status  // the order's; "" is any time
	at   time.Duration // after the beginning
	do   func(ctx context.Context, id string)
}

// decision is what somebody asked for and was answered.
type decision struct {
	action       string
	status       int
	asked, heard time.Time
}

// stockOf is what lies on the shelves in the beginning, and nothing is
// delivered later.
var stockOf = map[string]int64{"PLENTY": 1000, "SCARCE": 6, "NONE": 0}

const (
	approvalAbove = 100_000
	patience      = 300 * time.Millisecond
	lies          = 1500 * time.Millisecond // for how long at most
	most          = 5 * time.Minute         // for how long a run may take, on a machine that does much else
	still         = 90 * time.Second        // for how long nothing may change before it has come to a stop
)

func play(t *testing.T, seed uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	g := begin(t, seed)
	g.tell(ctx)
	g.Heal()
	g.acts.Wait()
	g.Note(hostile.Exchange{With: "----", Orders: slices.Collect(maps.Keys(g.orders)), Asked: "the lies end"})
	g.rest(ctx)
	g.verify(ctx)
	if len(g.broken) > 0 {
		g.report()
	}
}

// begin starts the system, with the counterparts still honest.
func begin(t testing.TB, seed uint64) *game {
	t.Helper()
	g := &game{TB: t, AWS: testkit.NewAWS(t, nil), World: &hostile.World{Seed: seed}, seed: seed, orders: map[string]*script{}, findings: map[string][]string{}}
	g.dice = g.Dice("game")
	share := func(of ...float64) float64 { return of[g.dice.IntN(len(of))] }
	g.Payment, g.Carrier, g.World.AWS = share(0, 0.2, 0.5, 0.8), share(0, 0.3, 0.7), share(0, 0, 0.02, 0.05)
	if g.dice.IntN(4) == 0 {
		at := time.Duration(g.dice.IntN(300)) * time.Millisecond
		g.SNSDown = [][2]time.Duration{{at, at + 400*time.Millisecond}}
	}
	g.flood = g.dice.IntN(8) == 0
	g.SetStock(t, stockOf)

	book, err := paymentsim.Open(paymentsim.Options{HangFor: 2 * time.Second, Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, book.Close()) })
	g.provider = httptest.NewServer(hostile.Provider(g.World, book.Handler()))
	t.Cleanup(g.provider.Close)
	g.books = payment.New(payment.Options{URL: g.provider.URL, Timeout: 10 * time.Second})
	t.Cleanup(g.books.Close)

	g.answers = hostile.Carrier{SQS: g.Clients.SQS, World: g.World, Answers: g.Resources.CarrierAnswers}
	g.carrier, err = carriersim.Open(carriersim.Options{
		SQS: g.answers, RequestsURL: g.Resources.CarrierRequests, AnswersURL: g.Resources.CarrierAnswers, DLQURL: g.Resources.CarrierRequestsDLQ, Logger: zerolog.Nop(),
	})
	require.NoError(t, err)
	g.background(g.carrier.Run)

	g.proxy = &hostile.AWS{World: g.World, Truth: g.Handler, Hold: g.clientsLeave}
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
		// Nobody lies then: the reconciler is to be quick.
		g.Payment, g.Carrier, g.World.AWS, g.SNSDown = 0, 0, 0, nil
		g.Slow, g.worker.PaymentTimeout = 150*time.Millisecond, 2*time.Second
	}
	if g.restart = !g.flood && g.dice.IntN(6) == 0; g.restart && g.dice.IntN(2) == 0 {
		g.worker.DataDir = t.TempDir() // else all that the engine knew is lost with it
	}
	g.parts, err = g.worker.Open(t.Context())
	require.NoError(t, err)
	g.stopWorker = g.background(g.worker.Run)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	g.api = client.Client{Base: "http://" + l.Addr().String(), HTTP: &http.Client{Transport: transport}}
	return g
}

// another stops the worker after a while and starts another one in its place.
func (g *game) another(ctx context.Context, began time.Time) {
	d := g.Dice("restart")
	select {
	case <-ctx.Done():
		return
	case <-time.After(time.Until(began.Add(time.Duration(50+d.IntN(700)) * time.Millisecond))):
	}
	old := g.worker
	g.stopWorker()
	w := worker.Worker{
		DataDir: old.DataDir, AWS: old.AWS, PaymentURL: old.PaymentURL, PaymentTimeout: old.PaymentTimeout, Terms: old.Terms,
		MaxLive: old.MaxLive, ShutdownTimeout: old.ShutdownTimeout, ForceOwnership: true, Logger: old.Logger,
	}
	var err error
	w.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", old.Listener.Addr().String())
	require.NoError(g, err)
	g.worker = &w
	for g.parts, err = w.Open(ctx); err != nil && ctx.Err() == nil; { // AWS lies to it from the beginning
		g.parts, err = w.Open(ctx)
	}
	require.NoError(g, err)
	g.stopWorker = g.background(w.Run)
	g.Note(hostile.Exchange{With: "people", Orders: slices.Collect(maps.Keys(g.orders)), Asked: "another worker", Said: fmt.Sprintf("it runs; the engine's state is kept: %t", w.DataDir != "")})
}

// background runs f until stop, or the end of the test.
func (g *game) background(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			g.Error(err)
		}
	})
	g.Cleanup(stop)
	return stop
}

// violated notes what does not hold.
func (g *game) violated(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := fmt.Sprintf(format, args...); !slices.Contains(g.broken, v) {
		g.broken = append(g.broken, v)
	}
}

// report prints what broke, and the exchanges about the orders in it.
func (g *game) report() {
	text := strings.Join(g.broken, "\n")
	about := hostile.OrdersIn(text)
	if len(about) == 0 {
		about = slices.Sorted(maps.Keys(g.orders))
	}
	if len(about) > 3 {
		about = about[:3]
	}
	g.Errorf("seed %d (payment lies in %.0f%%, carrier in %.0f%%, AWS in %.0f%%; flood %t; approval within %s, carrier within %s):\n%s\n\nwhat was said about %s (replay: go test ./internal/hostile -seed %d):\n%s",
		g.seed, 100*g.Payment, 100*g.Carrier, 100*g.World.AWS, g.flood, g.worker.Terms.ApprovalTimeout, g.worker.Terms.CarrierTimeout,
		text, strings.Join(about, ", "), g.seed, g.About(about...))
}

// tell places the orders and plays the people while the counterparts lie.
func (g *game) tell(ctx context.Context) {
	n := 6 + g.dice.IntN(5)
	if g.flood {
		n = 20
	}
	for i := range n {
		s := g.script(i)
		g.orders[s.order.OrderID] = s
	}
	g.Begin()
	began, until, over := time.Now(), lies, make(chan struct{})
	defer close(over)
	if g.flood {
		until = 4 * lies
	}
	for _, id := range slices.Sorted(maps.Keys(g.orders)) {
		g.acts.Go(func() { g.place(ctx, g.orders[id]) })
	}
	if g.flood {
		g.acts.Go(func() { g.watchLive(ctx, over) })
	}
	if g.restart {
		g.acts.Go(func() { g.another(ctx, began) })
	}
	g.acts.Go(func() { g.stocktakes(ctx, began) })
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for time.Since(began) < until {
		<-tick.C
		open, left, records := 0, 0, g.records(ctx)
		for id, rec := range records {
			s := g.orders[id]
			if !rec.Status.Terminal() && rec.Status != order.StatusNeedsAttention {
				open++
			}
			for i, c := range s.cues {
				if c.do == nil {
					continue
				}
				left++
				if (c.when == "" || c.when == rec.Status) && time.Since(began) > c.at || rec.Status.Terminal() {
					s.cues[i].do = nil
					g.acts.Go(func() { c.do(ctx, id) })
				}
			}
		}
		if open == 0 && left == 0 && len(records) == n && time.Since(began) > lies/2 {
			return
		}
	}
}

// records are all orders, as the true table has them: in one request, for they
// are read all the time.
func (g *game) records(ctx context.Context) map[string]orderstore.Record {
	table := orderstore.TablesWithPrefix("").Orders
	out, err := g.Clients.DynamoDB.Scan(ctx, &dynamodb.ScanInput{TableName: &table, ConsistentRead: aws.Bool(true)})
	require.NoError(g, err)
	var list []orderstore.Record
	require.NoError(g, attributevalue.UnmarshalListOfMaps(out.Items, &list))
	all := make(map[string]orderstore.Record, len(list))
	for _, rec := range list {
		if g.orders[rec.OrderID] != nil { // the table has the workers, too
			all[rec.OrderID] = rec
		}
	}
	return all
}

// script makes an order, and decides what people will do about it.
func (g *game) script(n int) *script {
	d := g.dice
	s := &script{order: order.Order{
		SpecVersion: 1, OrderID: orderName(g.seed, n), CustomerID: fmt.Sprint("c-", n%3), Currency: "EUR",
		Lines:   []order.Line{{SKU: "PLENTY", Quantity: int64(1 + d.IntN(4)), UnitPrice: int64(100 + d.IntN(900))}},
		Payment: order.Payment{Token: "tok_ok"},
		ShipTo:  &order.Address{Name: "Ada Example", Line1: "1 Loopback Lane", City: "Berlin", PostalCode: "D-10115", Country: "DE"},
	}}
	soon := func(within int) time.Duration { return time.Duration(d.IntN(within)) * time.Millisecond }
	cue := func(when order.Status, at time.Duration, do func(context.Context, string)) {
		s.cues = append(s.cues, cue{when, at, do})
	}
	if g.flood {
		return s
	}
	switch d.IntN(10) {
	case 0:
		s.order.Payment.Token = []string{"tok_declined", "tok_insufficient_funds"}[d.IntN(2)]
	case 1:
		s.order.Payment.Token = []string{"tok_flaky_2", "tok_rate_limited_1", "tok_lost_response"}[d.IntN(3)]
	case 2:
		s.order.ShipTo.Name = "REFUSE"
	case 3:
		s.order.ShipTo.Name = "SILENT"
	}
	switch d.IntN(6) {
	case 0, 1:
		s.order.Lines[0].SKU = "SCARCE"
	case 2:
		if d.IntN(3) == 0 {
			s.order.Lines = append(s.order.Lines, order.Line{SKU: "NONE", Quantity: 1, UnitPrice: 1})
		}
	case 3:
		if d.IntN(3) == 0 {
			s.order.Lines[0].UnitPrice = 0 // nothing to pay
		}
	}
	if d.IntN(3) == 0 { // dear
		s.order.Lines[0].UnitPrice = approvalAbove + 1
		waits := order.StatusAwaitingApproval
		at := soon(350)
		switch d.IntN(8) {
		case 0, 1:
			cue(waits, at, g.does("approve"))
		case 2:
			cue(waits, at, g.does("reject"))
		case 3:
			cue(waits, at, g.does("approve"))
			cue(waits, at, g.does("cancel"))
		case 4:
			cue(waits, at, g.does("approve"))
			cue(waits, at, g.does("reject"))
		case 5:
			cue(waits, at, func(ctx context.Context, id string) {
				g.slander(ctx, id)
				g.act(ctx, id, "approve")
			})
		case 6:
			cue(waits, at, func(ctx context.Context, id string) {
				g.act(ctx, id, "cancel")
				g.act(ctx, id, "approve")
			})
		}
	}
	switch d.IntN(8) {
	case 0: // two people suspend it at the same time, and two let it go on
		both := func(action string) func(context.Context, string) {
			return func(ctx context.Context, id string) {
				var two sync.WaitGroup
				for range 2 {
					two.Go(func() { g.act(ctx, id, action) })
				}
				two.Wait()
			}
		}
		at, in := soon(200), []order.Status{order.StatusReserved, order.StatusPaid, order.StatusAwaitingApproval}[d.IntN(3)]
		cue(in, at, both("suspend"))
		cue("", at+soon(300)+20*time.Millisecond, both("suspend"))
		cue("", at+soon(300)+50*time.Millisecond, both("resume"))
	case 1:
		cue("", soon(400), g.does("cancel"))
	case 2:
		cue("", soon(300), g.slander)
	case 3: // an operator does not wait for the lies to end
		cue(order.StatusNeedsAttention, 0, g.does("retry"))
	}
	if d.IntN(5) == 0 {
		s.leaves = true
	}
	return s
}

// place places an order as its client does: it repeats it until it is accepted,
// unless it goes away.
func (g *game) place(ctx context.Context, s *script) {
	d := g.Dice("client", s.order.OrderID)
	if s.leaves {
		ctx, cancel := context.WithCancel(ctx)
		g.mu.Lock()
		s.leave = cancel
		g.mu.Unlock()
		err := g.call(ctx, http.MethodPost, "/v1/orders", s.order)
		cancel()
		g.accepted(s, err)
		return
	}
	times := 1 + d.IntN(2)*d.IntN(3) // some place it more than once
	path := map[bool]string{true: "/v1/orders", false: "/v1/sagas"}[g.flood || d.IntN(5) > 0]
	for n := 0; n < times && ctx.Err() == nil; {
		err := g.call(ctx, http.MethodPost, path, s.order)
		g.accepted(s, err)
		if err == nil || !retriable(err) {
			n++
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func retriable(err error) bool {
	p, ok := errors.AsType[*client.Problem](err)
	return !ok || p.Status >= 500 || p.Status == http.StatusTooManyRequests
}

func (g *game) accepted(s *script, err error) {
	if err == nil {
		g.mu.Lock()
		s.accepted = true
		g.mu.Unlock()
	}
}

// clientsLeave lets the clients go away that do so when their order is about to
// be published. What goes on without them is to wait until that is known.
func (g *game) clientsLeave(operation string, orders []string) (wait bool) {
	if !strings.HasPrefix(operation, "Publish") {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range orders {
		if s := g.orders[id]; s != nil && s.leave != nil {
			s.leave()
			s.leave, wait = nil, true
		}
	}
	return wait
}

// call calls the API, and logs it.
func (g *game) call(ctx context.Context, method, path string, in any) error {
	err := g.api.Call(ctx, method, path, in, nil)
	said := "accepted"
	if err != nil {
		said = err.Error()
	}
	b, _ := json.Marshal(in) // it was sent
	g.Note(hostile.Exchange{With: "people", Orders: hostile.OrdersIn(path + string(b)), Asked: method + " " + path + " " + string(b), Said: said})
	return err
}

// act does something about a saga.
func (g *game) act(ctx context.Context, id, action string) {
	d := decision{action: action, asked: time.Now(), status: http.StatusAccepted}
	err := g.call(ctx, http.MethodPost, "/v1/sagas/"+id+"/"+action, api.ActionNote{By: "ann", Note: "seed"})
	d.heard = time.Now()
	if err != nil {
		d.status = 0
		if p, ok := errors.AsType[*client.Problem](err); ok {
			d.status = p.Status
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.orders[id].decided = append(g.orders[id].decided, d)
}

func (g *game) does(action string) func(context.Context, string) {
	return func(ctx context.Context, id string) { g.act(ctx, id, action) }
}

// slander has somebody answer for the order's carrier: another one, or the order's
// own before it was asked.
func (g *game) slander(ctx context.Context, id string) {
	d := g.Dice("slander", id)
	shipment := []string{"shp-foreign", "", "shp-" + id}[d.IntN(3)]
	kind := []string{"ShipmentRefused", "ShipmentRefused", "ShipmentDispatched"}[d.IntN(3)]
	text := fmt.Sprintf(`{"specVersion":1,"type":%q,"shipmentId":%q,"orderId":%q,"reason":"not yours"}`, kind, shipment, id)
	if shipment == "shp-"+id {
		g.Deceive(id, "the carrier answers before it is asked, or just then")
	}
	g.Note(hostile.Exchange{With: "carrier", Orders: []string{id}, Asked: "(nothing)", Said: text, Truth: "nobody asked"})
	require.NoError(g, g.answers.SendText(ctx, text))
}

// stocktakes count what is scarce: what has not been sold lies on the shelf.
func (g *game) stocktakes(ctx context.Context, began time.Time) {
	d := g.Dice("stocktake")
	for range d.IntN(3) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(began.Add(time.Duration(d.IntN(500)) * time.Millisecond))):
		}
		g.count(ctx, "SCARCE")
	}
}

// count counts a shelf: what lies there is what once came and was not sold. It
// is done twice, as by somebody who has not seen the first answer.
func (g *game) count(ctx context.Context, sku string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.api.Base+"/v1/stock/"+sku, http.NoBody)
	require.NoError(g, err)
	res, err := g.api.HTTP.Do(r)
	if err != nil {
		return // the worker is away
	}
	defer func() { _ = res.Body.Close() }() // decoded below
	var level orderstore.Level
	if res.StatusCode != http.StatusOK || json.NewDecoder(res.Body).Decode(&level) != nil {
		return
	}
	counter := g.api
	counter.Header = http.Header{"If-Match": {res.Header.Get("ETag")}}
	onHand := stockOf[sku] - level.Sold
	for range 2 {
		err = counter.Call(ctx, http.MethodPut, "/v1/stock/"+sku, map[string]int64{"onHand": onHand}, nil)
		g.Note(hostile.Exchange{With: "people", Orders: slices.Collect(maps.Keys(g.orders)), Asked: fmt.Sprintf("stock set %s %d, of %+v", sku, onHand, level), Said: fmt.Sprint(err)})
	}
}

// watchLive counts sagas until over, and runs the reconciler while orders wait in
// the queue: nobody lets in more than there is room for.
func (g *game) watchLive(ctx context.Context, over <-chan struct{}) {
	g.acts.Go(func() {
		for every(over, 100*time.Millisecond) {
			g.reconcile(ctx)
		}
	})
	for every(over, 5*time.Millisecond) {
		st, err := g.parts.Engine.Stats(ctx)
		require.NoError(g, err)
		// Intake and the reconciler may both take the same room, and no more.
		if live := st.Live - st.AwaitingExternal; live > 2*g.worker.MaxLive {
			g.violated("max live: more than twice %d sagas are live", g.worker.MaxLive)
		}
	}
}

// every waits for a moment; false: it is over.
func every(over <-chan struct{}, moment time.Duration) bool {
	select {
	case <-over:
		return false
	case <-time.After(moment):
		return true
	}
}

// reconcile runs the reconciler: while the counterparts lie with a short grace
// period, and later as if hours had passed.
func (g *game) reconcile(ctx context.Context) reconcile.Report {
	r := g.worker.Reconciler()
	r.Unpaid = &g.unpaid
	if r.Grace = 5 * time.Minute; g.rests == 0 {
		r.Grace = 600 * time.Millisecond // longer than a charge takes when orders flood in
	} else {
		later := time.Hour + time.Duration(g.rests-1)*2*time.Hour
		r.Now = func() time.Time { return time.Now().Add(later) }
		g.rests++
	}
	rep, err := r.Once(ctx)
	for n := 0; err != nil && ctx.Err() == nil && g.rests > 0 && n < 100; n++ { // the machine is busy
		g.Note(hostile.Exchange{With: "people", Orders: slices.Collect(maps.Keys(g.orders)), Asked: "reconcile", Said: err.Error()})
		rep, err = r.Once(ctx)
	}
	for _, f := range rep.Findings {
		g.mu.Lock()
		g.findings[f.OrderID] = append(g.findings[f.OrderID], f.What+": "+f.Action)
		g.mu.Unlock()
		g.Note(hostile.Exchange{With: "people", Orders: []string{f.OrderID}, Asked: "reconcile", Said: f.What + ": " + f.Action + " " + f.Error})
	}
	return rep
}

// rest plays the people and the reconciler until nothing is left to do.
func (g *game) rest(ctx context.Context) {
	g.rests = max(g.rests, 1)
	_, err := g.redrive(ctx)
	require.NoError(g, err)
	g.clerk(ctx)
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	quiet, was, changed := 0, "", time.Now()
	for {
		<-tick.C
		records := g.records(ctx)
		open := g.care(ctx, records)
		stats, err := g.parts.Engine.Stats(ctx)
		require.NoError(g, err)
		queued := g.queued(ctx)
		if is := state(records, queued); is != was {
			was, changed = is, time.Now()
		}
		if len(open) == 0 && queued == 0 && stats.Live == stats.AwaitingExternal {
			return
		}
		if time.Since(changed) > time.Second && stats.Live != stats.AwaitingExternal {
			g.resume(ctx)
		}
		// Once no saga moves by itself, the reconciler's time has come.
		if stats.Live == stats.AwaitingExternal {
			if quiet++; quiet%60 == 10 {
				g.reconcile(ctx)
			}
		} else {
			quiet = 0
		}
		if time.Since(changed) > still {
			g.reconcile(ctx)
			for _, id := range open {
				inst, err := g.parts.Engine.Get(ctx, id)
				g.violated("I2 nothing is lost: order %s is still %s (%s); its saga is %s at %q (%v)", id, records[id].Status, records[id].Reason, inst.Status, inst.CustomStatus, err)
			}
			if len(open) == 0 {
				g.violated("the system does not come to rest: %d messages, %+v", queued, stats)
			}
			return
		}
	}
}

// state is what changes as long as something goes on. A person who tries again
// what cannot succeed changes nothing.
func state(records map[string]orderstore.Record, queued int) string {
	all := []string{fmt.Sprint(queued)}
	for id, rec := range records {
		all = append(all, id+" "+string(rec.Status))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// resume lets sagas go on that were suspended when their orders had ended and
// they had not.
func (g *game) resume(ctx context.Context) {
	for id := range g.orders {
		if inst, err := g.parts.Engine.Get(ctx, id); err == nil && inst.Status == engine.Suspended {
			g.act(ctx, id, "resume")
		}
	}
}

// care does what people do about orders that wait for them, and says which
// have not ended.
func (g *game) care(ctx context.Context, records map[string]orderstore.Record) (open []string) {
	for id, rec := range records {
		if rec.Status.Terminal() {
			continue
		}
		open = append(open, id)
		s := g.orders[id]
		if time.Since(s.acted) < 100*time.Millisecond {
			continue
		}
		inst, err := g.parts.Engine.Get(ctx, id)
		if err != nil && !errors.Is(err, engine.ErrNotFound) {
			require.NoError(g, err)
		}
		d := g.Dice("care", id, len(s.decided))
		switch {
		case inst.Status == engine.Suspended:
			g.act(ctx, id, "resume")
		case rec.Status == order.StatusAwaitingApproval && rec.Decision == "":
			g.act(ctx, id, []string{"approve", "approve", "reject"}[d.IntN(3)])
		case rec.Status == order.StatusNeedsAttention:
			g.resolve(ctx, d, rec)
		case inst.CustomStatus == workflows.StepCarrier:
			list, _ := g.carrier.Parcels(id, "", 1)
			if len(list) == 0 {
				continue // it will be asked in a moment
			}
			g.sayTruth(ctx, list[0])
		default:
			continue
		}
		s.acted = time.Now()
	}
	slices.Sort(open)
	return open
}

// resolve decides about an order that needs attention, as somebody does who
// has asked the carrier.
func (g *game) resolve(ctx context.Context, d *rand.Rand, rec orderstore.Record) {
	action := saga.ActionRetry
	shipped := g.parcel(rec.OrderID)
	if rec.ShipmentID != "" && d.IntN(2) == 0 {
		action = saga.ActionCompensate
		if shipped {
			action = saga.ActionResolve
		}
	}
	if rec.ShipmentID == "" && d.IntN(4) == 0 {
		action = saga.ActionCompensate
	}
	if g.nothingToRefund(ctx, rec) {
		action = saga.ActionResolve
	}
	err := g.call(ctx, http.MethodPost, "/v1/sagas/"+rec.OrderID+"/resolve", api.ResolveRequest{Action: action, ActionNote: api.ActionNote{By: "bob"}})
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.orders[rec.OrderID]
	s.decided = append(s.decided, decision{action: string(action), status: map[bool]int{true: 202}[err == nil], asked: time.Now(), heard: time.Now()})
}

// nothingToRefund is what the provider's book says to a person who looks into
// it after some tries: a charge that was said to be made and never was cannot be
// given back, and the saga must not believe that by itself.
func (g *game) nothingToRefund(ctx context.Context, rec orderstore.Record) bool {
	retries := 0
	for _, d := range g.orders[rec.OrderID].decided {
		if d.action == string(saga.ActionRetry) && d.status == http.StatusAccepted {
			retries++
		}
	}
	if !rec.Refunding || rec.RefundID != "" || retries < 3 || g.Deceived(rec.OrderID) == "" {
		return false
	}
	charges, err := g.books.ChargesOf(ctx, rec.OrderID)
	require.NoError(g, err)
	return !slices.ContainsFunc(charges, func(e payment.Entry) bool { return !e.Refunded })
}

// parcel reports whether the carrier has one for the order.
func (g *game) parcel(id string) bool {
	list, _ := g.carrier.Parcels(id, "", 1)
	return len(list) > 0 && list[0].Outcome != carriersim.Refused
}

// clerk has the carrier say once more, and truly, what became of its parcels.
func (g *game) clerk(ctx context.Context) {
	list, _ := g.carrier.Parcels("", "", 1000)
	for _, p := range list {
		g.sayTruth(ctx, p)
	}
}

func (g *game) sayTruth(ctx context.Context, p carriersim.Parcel) {
	a := events.CarrierAnswer{SpecVersion: 1, Type: "ShipmentDispatched", ShipmentID: p.ShipmentID, OrderID: p.OrderID, TrackingID: "trk-" + p.OrderID}
	if p.Outcome == carriersim.Refused {
		a.Type, a.TrackingID, a.Reason = "ShipmentRefused", "", "the carrier does not deliver there"
	}
	b, err := json.Marshal(a)
	require.NoError(g, err)
	require.NoError(g, g.answers.SendText(ctx, string(b)))
	g.Note(hostile.Exchange{With: "carrier", Orders: []string{p.OrderID}, Asked: "(after the lies)", Said: string(b)})
}

// pairs are the queues with their dead letters.
func (g *game) pairs() (all []deadletter.Pair) {
	for _, q := range g.Resources.Queues() {
		all = append(all, deadletter.Pair{Name: q.Name, URL: q.URL, DeadURL: q.DeadURL})
	}
	return all
}

// dead are the pairs that have dead letters: to look into an empty queue takes a
// second.
func (g *game) dead(ctx context.Context) (some []deadletter.Pair) {
	for _, p := range g.pairs() {
		_, dead, err := p.Depths(ctx, g.Clients.SQS)
		require.NoError(g, err)
		if dead.Visible+dead.InFlight > 0 {
			some = append(some, p)
		}
	}
	return some
}

// redrive puts all dead letters back, once: AWS may have lied when they died.
func (g *game) redrive(ctx context.Context) (n int, err error) {
	for _, p := range g.dead(ctx) {
		moved, e := p.RedriveAll(ctx, g.Clients.SQS, 1000)
		n, err = n+moved, errors.Join(err, e)
	}
	return n, err
}

// queued counts the messages that wait or are being handled.
func (g *game) queued(ctx context.Context) (n int) {
	for _, p := range g.pairs() {
		live, _, err := p.Depths(ctx, g.Clients.SQS)
		require.NoError(g, err)
		n += live.Visible + live.InFlight
	}
	return n
}

// Shipments is the carrier's book, as the check reads it.
func (g *game) Shipments(context.Context) (all []invariants.Shipment, err error) {
	list, _ := g.carrier.Parcels("", "", 1000)
	for _, p := range list {
		all = append(all, invariants.Shipment{ShipmentID: p.ShipmentID, OrderID: p.OrderID, Refused: p.Outcome == carriersim.Refused})
	}
	return all, nil
}
