// Package loadgen places orders through the API of a running system, at a rate or
// with a fixed number in progress, and measures latency and outcomes.
package loadgen

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/uuid"

	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/order"
)

// Generator generates load. Either Rate or Concurrency must be positive.
type Generator struct {
	Client client.Client
	// Rate makes an open loop: it places this many orders per second on schedule,
	// whatever happens to earlier ones, as customers do.
	Rate float64
	// Concurrency makes a closed loop: it places the next order when one of this
	// many in progress ends.
	Concurrency int
	Orders      int           // stops after this many; 0 is no limit
	Duration    time.Duration // stops after this time; 0 is no limit
	Patience    time.Duration // time to wait at the end for open sagas
	Mix         Mix
	// Templates are orders to place in turn, each time with a new id and customer.
	// nil places orders of Mix and SKUs.
	Templates []order.Order
	SKUs      []string
	Seed      uint64 // of the random choice of kinds
	// Progress is called every second with the report so far. nil disables it.
	Progress func(Report)
}

// placement is an order that was placed.
type placement struct {
	id    string
	kind  *kind
	wait  time.Duration // from when it was due until it was accepted
	ended chan struct{} // closed when its saga has ended
}

// customers is the number of customers of a run. They spread the orders over
// partitions of the orders' index and let a run list little but its own orders.
const customers = 4

// run is one run of a Generator.
type run struct {
	Generator

	prefix string
	deck   []*kind
	rng    *rand.Rand
	start  time.Time

	mu      sync.Mutex
	open    map[string]*placement   // by order id
	accepts *hdrhistogram.Histogram // microseconds
	ends    *hdrhistogram.Histogram
	report  Report
	lastErr string // the API's latest error; "" if there was none
}

// Run generates the load and returns its report, also with an error.
func (g Generator) Run(ctx context.Context) (Report, error) {
	deck := []*kind{{Name: "given", want: order.StatusCompleted}}
	if g.Templates != nil {
		g.Mix = nil
	} else {
		var err error
		deck, err = g.Mix.deck()
		if err != nil {
			return Report{}, err
		}
	}
	r := &run{
		Generator: g, prefix: "load-" + uuid.NewString()[:8], deck: deck, start: time.Now(),
		rng:  rand.New(rand.NewPCG(g.Seed, 1)), //nolint:gosec // selects kinds of orders, not secrets
		open: map[string]*placement{}, accepts: newHistogram(), ends: newHistogram(),
		report: Report{
			Loop: "closed", Concurrency: g.Concurrency, Mix: g.Mix,
			Refused: map[string]int{}, Ended: map[order.Status]int{}, Unexpected: map[string]int{},
		},
	}
	if g.Rate > 0 {
		r.report.Loop, r.report.Rate, r.report.Concurrency = "open", g.Rate, 0
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	var followers sync.WaitGroup
	for c := range customers {
		followers.Go(func() { r.follow(following, c) })
	}
	if g.Progress != nil {
		followers.Go(func() { r.reportProgress(following) })
	}
	placing, cancel := context.WithCancel(ctx)
	if g.Duration > 0 {
		placing, cancel = context.WithTimeout(ctx, g.Duration)
	}
	defer cancel()
	if g.Rate > 0 {
		r.openLoop(placing)
	} else {
		r.closedLoop(placing)
	}
	placed := time.Since(r.start)
	drainErr := r.drain(ctx)
	stop()
	followers.Wait()
	return r.result(placed), errors.Join(ctx.Err(), drainErr)
}

// openLoop sends each order when it is due.
func (r *run) openLoop(ctx context.Context) {
	var sent sync.WaitGroup
	defer sent.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; r.Orders == 0 || n < r.Orders; n++ {
		due := r.start.Add(time.Duration(float64(n) / r.Rate * float64(time.Second)))
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		p := r.newPlacement(n)
		sent.Go(func() { r.place(context.WithoutCancel(ctx), n, p, due) })
	}
}

// closedLoop keeps Concurrency orders in progress.
func (r *run) closedLoop(ctx context.Context) {
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range r.Concurrency {
		workers.Go(func() {
			for n := range numbers {
				r.mu.Lock()
				p := r.newPlacement(n)
				r.mu.Unlock()
				if !r.place(context.WithoutCancel(ctx), n, p, time.Now()) {
					continue
				}
				select {
				case <-p.ended:
				case <-ctx.Done():
				}
			}
		})
	}
	for n := 0; r.Orders == 0 || n < r.Orders; n++ {
		select {
		case numbers <- n:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(numbers)
	workers.Wait()
}

// newPlacement chooses the kind of the n-th order.
func (r *run) newPlacement(n int) *placement {
	return &placement{id: fmt.Sprintf("%s-%d", r.prefix, n), kind: r.deck[r.rng.IntN(len(r.deck))], ended: make(chan struct{})}
}

// place sends an order and reports whether it was accepted.
func (r *run) place(ctx context.Context, n int, p *placement, due time.Time) bool {
	o := r.order(n, p)
	// Before the request: follow may find that the saga has ended before the
	// response arrives.
	r.mu.Lock()
	r.report.Sent++
	r.open[p.id] = p
	r.mu.Unlock()
	err := r.Client.Call(ctx, http.MethodPost, "/v1/orders", o, nil)
	took := time.Since(due)
	if err == nil && p.kind.twice {
		err = r.Client.Call(ctx, http.MethodPost, "/v1/orders", o, nil)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		p.wait = took
		r.report.Accepted++
		record(r.accepts, took)
		return true
	}
	delete(r.open, p.id)
	reason := "no answer"
	problem, ok := errors.AsType[*client.Problem](err)
	if ok {
		reason = strconv.Itoa(problem.Status)
	}
	r.report.Refused[reason]++
	if reason != p.kind.refused {
		r.report.Unexpected[p.kind.Name+": refused with "+reason]++
		r.lastErr = err.Error()
	}
	return false
}

// order returns the n-th order.
func (r *run) order(n int, p *placement) order.Order {
	if r.Templates != nil {
		o := r.Templates[n%len(r.Templates)]
		o.OrderID, o.CustomerID = p.id, r.customer(n%customers)
		return o
	}
	o := order.Order{
		SpecVersion: order.SpecVersion, OrderID: p.id, CustomerID: r.customer(n % customers),
		Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines:  []order.Line{{SKU: r.SKUs[n%len(r.SKUs)], Quantity: 1, UnitPrice: 1999}},
		ShipTo: &order.Address{Name: "Ada Example", Line1: "1 Loopback Lane", City: "Berlin", PostalCode: "10115", Country: "DE"},
	}
	p.kind.make(&o)
	return o
}

func (r *run) customer(n int) string { return r.prefix + "-c" + strconv.Itoa(n) }

// drain waits at most Patience until all sagas have ended.
func (r *run) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	for _, p := range r.placements() {
		select {
		case <-p.ended:
		case <-ctx.Done():
			open := r.placements()
			if len(open) == 0 {
				return nil
			}
			return fmt.Errorf("%d sagas did not end within %s after the last order, such as %s", len(open), r.Patience, open[0].id)
		}
	}
	return nil
}

func (r *run) placements() []*placement {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.open))
}
