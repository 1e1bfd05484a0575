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

// TestRecentStatsCoverTheRecentTime: work counts when it is done, for fleet.RecentTime.
func TestRecentStatsCoverTheRecentTime(t *testing.T) {
	began := time.Date(2026, 11, 25, 10, 0, 3, 0, time.UTC)
	now := began
	s := newRecentStats(func() time.Time { return now })
	check := func(durations int64, want ...fleet.Interval) (w fleet.Worker) {
		t.Helper()
		s.snapshot(&w)
		if len(want) == 0 && len(w.Recent) == 0 {
			w.Recent = want
		}
		total := int64(0)
		if w.Durations != nil {
			total = w.Durations.TotalCount()
		}
		if !reflect.DeepEqual(w.Recent, want) || (w.Durations != nil) != (durations > 0) || total != durations {
			t.Errorf("snapshot after %s = %+v, want intervals %+v and %d durations", now.Sub(began), w, want, durations)
		}
		return w
	}
	reserved := func(err error) { s.attempt(activities.Attempt{Activity: workflows.ReserveStock, Err: err}) }
	check(0)
	reserved(nil)
	reserved(&saga.Stop{Status: string(order.StatusRejected)})
	reserved(errors.New("DynamoDB is away"))
	s.attempt(activities.Attempt{Activity: workflows.ChargePayment})
	s.end(activities.End{Status: order.StatusRejected, Took: 20 * time.Millisecond})
	first := fleet.Interval{At: began.Unix() - 3, Started: 2, Ended: map[order.Status]int{order.StatusRejected: 1}}
	check(1, first)

	now = now.Add(2 * time.Minute)
	check(1, first)
	s.end(activities.End{Status: order.StatusFailed, Refunded: true, Took: 2 * time.Minute})
	s.end(activities.End{Status: order.StatusFailed}) // by a saga without the time of acceptance
	s.end(activities.End{Status: order.StatusCompleted, Took: 365 * 24 * time.Hour})
	second := fleet.Interval{At: now.Unix() - 3, Refunded: 1, Ended: map[order.Status]int{order.StatusFailed: 2, order.StatusCompleted: 1}}
	w := check(3, first, second)
	if p50, most := w.Durations.ValueAtQuantile(50), w.Durations.Max(); p50 < 118_000 || p50 > 122_000 || most < 29*24*3_600_000 {
		t.Errorf("median = %d ms, want about 120,000; longest = %d ms, want more than 29 days", p50, most)
	}

	now = began.Add(fleet.RecentTime)
	check(2, second)
	now = now.Add(-time.Minute) // the clock is set back
	check(0)
	s.end(activities.End{Status: order.StatusCompleted, Took: time.Second})
	check(1, fleet.Interval{At: now.Unix() - 3, Ended: map[order.Status]int{order.StatusCompleted: 1}})
	now = now.Add(24 * time.Hour)
	check(0)
}
