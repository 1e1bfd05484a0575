package loadgen

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
)

// pollInterval is the time between two lists of a customer's orders. The records
// have the time of their end, so the latencies of an open loop do not include the
// interval. In a closed loop it delays the next order.
const pollInterval = 50 * time.Millisecond

// The index is eventually consistent: an order may appear in a list after others
// that were accepted later. Every overlapEvery-th poll therefore starts earlier,
// by overlap.
const (
	overlap      = 10 * time.Second
	overlapEvery = 20 // polls
)

// listedSaga has the fields of a listed saga that a run needs.
type listedSaga struct {
	OrderID              string
	Status               order.Status
	CreatedAt, UpdatedAt time.Time
}

// follow records the ends of one customer's orders until ctx ends.
func (r *run) follow(ctx context.Context, customer int) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	since := r.start.Add(-time.Minute) // clocks differ
	for n := 1; ; n++ {
		from := since
		if n%overlapEvery == 0 {
			from = since.Add(-overlap)
		}
		oldest, err := r.poll(ctx, customer, from)
		if err == nil && !oldest.IsZero() {
			since = oldest
		}
		if err != nil && ctx.Err() == nil {
			r.mu.Lock()
			r.lastErr = err.Error()
			r.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// poll lists a customer's orders since then. It returns when the oldest open one
// was accepted, or the latest one if all have ended.
func (r *run) poll(ctx context.Context, customer int, since time.Time) (oldest time.Time, err error) {
	q := url.Values{"customer": {r.customer(customer)}, "since": {since.UTC().Format(time.RFC3339Nano)}, "limit": {"1000"}}
	var latest time.Time
	for {
		var page struct {
			Sagas []listedSaga
			Next  string
		}
		if err := r.Client.Call(ctx, http.MethodGet, "/v1/sagas?"+q.Encode(), nil, &page); err != nil {
			return time.Time{}, err
		}
		for _, s := range page.Sagas {
			if s.CreatedAt.After(latest) {
				latest = s.CreatedAt
			}
			if !r.recordEnd(s) && (oldest.IsZero() || s.CreatedAt.Before(oldest)) {
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

// recordEnd records that a saga has ended, and reports whether it has. A saga that
// waits for an operator counts as ended.
func (r *run) recordEnd(s listedSaga) bool {
	if !s.Status.Terminal() && s.Status != order.StatusNeedsAttention && s.Status != order.StatusAwaitingApproval {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.open[s.OrderID]
	if !ok {
		return true
	}
	if p.wait == 0 { // the response to its request has not arrived
		return false
	}
	delete(r.open, s.OrderID)
	close(p.ended)
	r.report.Ended[s.Status]++
	if s.Status != p.kind.want {
		r.report.Unexpected[p.kind.Name+": "+string(s.Status)]++
	}
	record(r.ends, p.wait+s.UpdatedAt.Sub(s.CreatedAt))
	return true
}

// reportProgress calls Progress every second until ctx ends.
func (r *run) reportProgress(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.Progress(r.result(time.Since(r.start)))
		}
	}
}
