// Package loadgen places orders through the API of a running system, at a rate or
// so many at once, and measures what becomes of them.
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

// Load is what is done. Rate makes it an open loop: orders come at their time,
// whatever became of those before, as customers do. Concurrency makes it a
// closed one: the next order comes when one has ended.
type Load struct {
	Client      client.Client
	Rate        float64 // orders a second
	Concurrency int
	Orders      int           // it ends after so many
	Duration    time.Duration // or after so long
	Patience    time.Duration // how long to wait then for those that have not ended
	Mix         Mix
	// From are orders to place in turn, instead of a mix: each time under another
	// id and customer. nil: Mix and SKUs say what is placed.
	From []order.Order
	SKUs []string
	Seed uint64
	// Progress is told every second how it goes; nil: nobody is.
	Progress func(Report)
}

// flight is an order on its way.
type flight struct {
	id    string
	kind  *kind
	wait  time.Duration // from when it was due until it was accepted
	ended chan struct{}
}

// customers share the orders, so that the load is in more than one place of the
// orders' index, and looking for what has ended reads little else.
const customers = 4

type run struct {
	Load

	prefix string
	deck   []*kind
	rng    *rand.Rand
	began  time.Time

	mu       sync.Mutex
	open     map[string]*flight
	accepts  *hdrhistogram.Histogram // microseconds
	ends     *hdrhistogram.Histogram
	report   Report
	lastSeen string // what the API said last, if it could not be asked
}

// Run does it and returns what came of it, also beside an error.
func (l Load) Run(ctx context.Context) (Report, error) {
	deck := []*kind{{Name: "given", want: order.StatusCompleted}}
	if l.From != nil {
		l.Mix = nil
	} else {
		var err error
		if deck, err = l.Mix.deck(); err != nil {
			return Report{}, err
		}
	}
	r := &run{
		Load: l, prefix: "load-" + uuid.NewString()[:8], deck: deck, began: time.Now(),
		rng:  rand.New(rand.NewPCG(l.Seed, 1)), //nolint:gosec // orders are dealt, not secrets
		open: map[string]*flight{}, accepts: newHistogram(), ends: newHistogram(),
		report: Report{Loop: "closed", Concurrency: l.Concurrency, Mix: l.Mix, Refused: map[string]int{}, Ended: map[order.Status]int{}, Unexpected: map[string]int{}},
	}
	if l.Rate > 0 {
		r.report.Loop, r.report.Rate, r.report.Concurrency = "open", l.Rate, 0
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	var followers sync.WaitGroup
	for c := range customers {
		followers.Go(func() { r.follow(following, c) })
	}
	if l.Progress != nil {
		followers.Go(func() { r.tell(following) })
	}
	placing, cancel := context.WithCancel(ctx)
	if l.Duration > 0 {
		placing, cancel = context.WithTimeout(ctx, l.Duration)
	}
	defer cancel()
	if l.Rate > 0 {
		r.openLoop(placing)
	} else {
		r.closedLoop(placing)
	}
	placed := time.Since(r.began)
	left := r.drain(ctx)
	stop()
	followers.Wait()
	return r.result(placed), errors.Join(ctx.Err(), left)
}

// openLoop sends each order when it is due.
func (r *run) openLoop(ctx context.Context) {
	var sent sync.WaitGroup
	defer sent.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; r.Orders == 0 || n < r.Orders; n++ {
		due := r.began.Add(time.Duration(float64(n) / r.Rate * float64(time.Second)))
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		f := r.deal(n)
		sent.Go(func() { r.place(context.WithoutCancel(ctx), n, f, due) })
	}
}

// closedLoop keeps so many under way.
func (r *run) closedLoop(ctx context.Context) {
	numbers := make(chan int)
	var hands sync.WaitGroup
	for range r.Concurrency {
		hands.Go(func() {
			for n := range numbers {
				r.mu.Lock()
				f := r.deal(n)
				r.mu.Unlock()
				if !r.place(context.WithoutCancel(ctx), n, f, time.Now()) {
					continue
				}
				select {
				case <-f.ended:
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
	hands.Wait()
}

func (r *run) deal(n int) *flight {
	return &flight{id: fmt.Sprintf("%s-%d", r.prefix, n), kind: r.deck[r.rng.IntN(len(r.deck))], ended: make(chan struct{})}
}

// place sends an order, and reports whether its saga is to be waited for.
func (r *run) place(ctx context.Context, n int, f *flight, due time.Time) bool {
	o := r.order(n, f)
	// Before it is sent: it may be seen to have ended before its answer is here.
	r.mu.Lock()
	r.report.Sent++
	r.open[f.id] = f
	r.mu.Unlock()
	err := r.Client.Call(ctx, http.MethodPost, "/v1/orders", o, nil)
	took := time.Since(due)
	if err == nil && f.kind.twice {
		err = r.Client.Call(ctx, http.MethodPost, "/v1/orders", o, nil)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		f.wait = took
		r.report.Accepted++
		record(r.accepts, took)
		return true
	}
	delete(r.open, f.id)
	why := "no answer"
	if p, ok := errors.AsType[*client.Problem](err); ok {
		why = strconv.Itoa(p.Status)
	}
	r.report.Refused[why]++
	if why != f.kind.refused {
		r.report.Unexpected[f.kind.Name+": refused with "+why]++
		r.lastSeen = err.Error()
	}
	return false
}

// order is the one with this number.
func (r *run) order(n int, f *flight) order.Order {
	if r.From != nil {
		o := r.From[n%len(r.From)]
		o.OrderID, o.CustomerID = f.id, r.customer(n%customers)
		return o
	}
	o := order.Order{
		SpecVersion: order.SpecVersion, OrderID: f.id, CustomerID: r.customer(n % customers), Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines:  []order.Line{{SKU: r.SKUs[n%len(r.SKUs)], Quantity: 1, UnitPrice: 1999}},
		ShipTo: &order.Address{Name: "Ada Example", Line1: "1 Loopback Lane", City: "Berlin", PostalCode: "10115", Country: "DE"},
	}
	f.kind.make(&o)
	return o
}

func (r *run) customer(n int) string { return r.prefix + "-c" + strconv.Itoa(n) }

// drain waits until all have ended, but not for ever.
func (r *run) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	for _, f := range r.flights() {
		select {
		case <-f.ended:
		case <-ctx.Done():
			left := r.flights()
			if len(left) == 0 {
				return nil
			}
			return fmt.Errorf("%d sagas have not ended within %s of the last order, %s among them", len(left), r.Patience, left[0].id)
		}
	}
	return nil
}

func (r *run) flights() []*flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.open))
}
