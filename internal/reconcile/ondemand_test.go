package reconcile_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestOnDemandRunsOnceAtATime: one run at a time, for as long as it takes. It reports its
// progress and ends with its process.
func TestOnDemandRunsOnceAtATime(t *testing.T) {
	var holding atomic.Bool
	reached, goOn := make(chan struct{}), make(chan struct{})
	l := newLeaky(t, func(o *awslocal.Options) {
		o.Fault = func(_, operation string) error {
			if operation == "Scan" && holding.CompareAndSwap(true, false) { // the first of a run, after the orders
				reached <- struct{}{}
				<-goOn
			}
			return nil
		}
	})
	l.accepted("pending", "tok_ok")
	l.reserved("ended", "tok_ok")
	require.NoError(l, l.Store.End(t.Context(), "ended", order.StatusFailed, "by hand"))
	d := reconcile.NewOnDemand(l.Reconciler)
	if r := d.Latest(); r.Running || !r.StartedAt.IsZero() || r.Findings == nil {
		t.Errorf("before the first run: %+v, want it not running, no start, and findings that are not nil", r)
	}
	holding.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()

	first, _ := d.Ask()
	<-reached
	if again, _ := d.Ask(); again != first {
		t.Error("Ask during a run began another, want the run in progress")
	}
	if r := d.Latest(); !r.Running || r.Orders != 1 || r.Reservations != 0 || len(r.Findings) != 1 || r.StartedAt.IsZero() ||
		!r.EndedAt.IsZero() {
		t.Errorf("half way: %+v, want it running and started, no end, 1 order, 0 reservations, 1 finding", r)
	}
	goOn <- struct{}{}
	<-first
	r := d.Latest()
	if r.Running || r.Orders != 1 || r.Reservations < 1 || len(r.Findings) != 2 || r.EndedAt.Before(r.StartedAt) || r.Error != "" {
		t.Errorf("at the end: %+v, want not running, no end before the start, 1 order, a reservation or more, 2 findings, no error", r)
	}

	holding.Store(true)
	second, cut := d.Ask()
	<-reached
	cancel()
	goOn <- struct{}{}
	<-second
	if r := cut(); r.Running || r.Error == "" || r.EndedAt.IsZero() {
		t.Errorf("cut off: %+v, want it not running, an end and an error", r)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
	for range 2 { // no Run is in progress
		late, now := d.Ask()
		<-late
		if r := now(); r.Running || r.Error == "" || d.Latest().StartedAt != r.StartedAt {
			t.Errorf("after the end: %+v, want it not running, an error, and the start of the latest run", r)
		}
	}
}
