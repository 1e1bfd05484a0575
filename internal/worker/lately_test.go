package worker

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/activities"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// TestLately: what a worker does counts when it does it, and for stock.RecentTime.
func TestLately(t *testing.T) {
	began := time.Date(2026, 11, 25, 10, 0, 3, 0, time.UTC)
	now := began
	l := newLately(func() time.Time { return now })
	said := func(durations int64, want ...fleet.Interval) (w fleet.Worker) {
		t.Helper()
		l.say(&w)
		if len(want) == 0 && len(w.Recent) == 0 {
			w.Recent = want
		}
		if !reflect.DeepEqual(w.Recent, want) || (w.Durations != nil) != (durations > 0) || w.Durations != nil && w.Durations.TotalCount() != durations {
			t.Errorf("at %s: %+v, want %+v", now.Sub(began), w, want)
		}
		return w
	}
	reserved := func(err error) { l.attempt(activities.Attempt{Activity: workflows.ReserveStock, Err: err}) }
	said(0)
	reserved(nil)
	reserved(&saga.Stop{Status: string(order.StatusRejected)})
	reserved(errors.New("DynamoDB is away"))
	l.attempt(activities.Attempt{Activity: workflows.ChargePayment})
	l.end(activities.End{Status: order.StatusRejected, Took: 20 * time.Millisecond})
	first := fleet.Interval{At: began.Unix() - 3, Started: 2, Ended: map[order.Status]int{order.StatusRejected: 1}}
	said(1, first)

	now = now.Add(2 * time.Minute)
	said(1, first)
	l.end(activities.End{Status: order.StatusFailed, Refunded: true, Took: 2 * time.Minute})
	l.end(activities.End{Status: order.StatusFailed}) // by a saga that does not know
	l.end(activities.End{Status: order.StatusCompleted, Took: 365 * 24 * time.Hour})
	second := fleet.Interval{At: now.Unix() - 3, Refunded: 1, Ended: map[order.Status]int{order.StatusFailed: 2, order.StatusCompleted: 1}}
	w := said(3, first, second)
	if p50, most := w.Durations.ValueAtQuantile(50), w.Durations.Max(); p50 < 118_000 || p50 > 122_000 || most < 29*24*3_600_000 {
		t.Errorf("median %d ms, longest %d ms", p50, most)
	}

	now = began.Add(fleet.RecentTime)
	said(2, second)
	now = now.Add(-time.Minute) // somebody sets the clock back
	said(0)
	l.end(activities.End{Status: order.StatusCompleted, Took: time.Second})
	said(1, fleet.Interval{At: now.Unix() - 3, Ended: map[order.Status]int{order.StatusCompleted: 1}})
	now = now.Add(24 * time.Hour)
	said(0)
}
