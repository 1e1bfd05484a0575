package loadgen

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
)

// lookEvery is how often it is looked at what has ended. When it did is in the
// record, so that this does not show in the latencies of an open loop; in a
// closed one it is a pause before the next order.
const lookEvery = 50 * time.Millisecond

// An order is accepted a moment before it can be seen, so one may show up late
// among others that were accepted after it.
const (
	lateBy    = 10 * time.Second
	lateEvery = 20 // looks
)

// seen is what of a saga counts here.
type seen struct {
	OrderID              string
	Status               order.Status
	CreatedAt, UpdatedAt time.Time
}

// follow notes what has become of one customer's orders.
func (r *run) follow(ctx context.Context, customer int) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	since := r.began.Add(-time.Minute) // clocks differ
	for n := 1; ; n++ {
		from := since
		if n%lateEvery == 0 {
			from = since.Add(-lateBy)
		}
		oldest, err := r.look(ctx, customer, from)
		if err == nil && !oldest.IsZero() {
			since = oldest
		}
		if err != nil && ctx.Err() == nil {
			r.mu.Lock()
			r.lastSeen = err.Error()
			r.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look reads all of a customer's orders since then, and returns when the oldest
// of them was accepted that is still under way; or the latest, if none is.
func (r *run) look(ctx context.Context, customer int, since time.Time) (oldest time.Time, err error) {
	q := url.Values{"customer": {r.customer(customer)}, "since": {since.UTC().Format(time.RFC3339Nano)}, "limit": {"1000"}}
	var latest time.Time
	for {
		var page struct {
			Sagas []seen
			Next  string
		}
		if err := r.Client.Call(ctx, http.MethodGet, "/v1/sagas?"+q.Encode(), nil, &page); err != nil {
			return time.Time{}, err
		}
		for _, s := range page.Sagas {
			if s.CreatedAt.After(latest) {
				latest = s.CreatedAt
			}
			if !r.note(s) && (oldest.IsZero() || s.CreatedAt.Before(oldest)) {
				oldest = s.CreatedAt
			}
		}
		if page.Next == "" {
			break
		}
		q.Set("cursor", page.Next)
	}
	if oldest.IsZero() {
		oldest = latest
	}
	return oldest, nil
}

// note reports whether a saga has ended, or waits for a person, which is an end
// for who measures.
func (r *run) note(s seen) bool {
	if !s.Status.Terminal() && s.Status != order.StatusNeedsAttention && s.Status != order.StatusAwaitingApproval {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.open[s.OrderID]
	if !ok {
		return true
	}
	if f.wait == 0 { // its answer is still on its way
		return false
	}
	delete(r.open, s.OrderID)
	close(f.ended)
	r.report.Ended[s.Status]++
	if s.Status != f.kind.want {
		r.report.Unexpected[f.kind.Name+": "+string(s.Status)]++
	}
	record(r.ends, f.wait+s.UpdatedAt.Sub(s.CreatedAt))
	return true
}

// tell says every second how it goes.
func (r *run) tell(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.Progress(r.result(time.Since(r.began)))
		}
	}
}
