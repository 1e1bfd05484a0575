package console

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// TestTimelineDrawsAttemptsAndWaits has a failed attempt, a pause, a successful
// one, a wait that a signal ended, and a compensation in progress.
func TestTimelineDrawsAttemptsAndWaits(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	at := began.Add
	of := func(id int) *int { return &id }
	events := []engine.Event{
		{ID: -1, At: at(0), Type: "ExecutionStarted", Name: "OrderSaga"},
		{ID: 0, At: at(0), Type: "TaskScheduled", Name: "ChargePayment"},
		{ID: -1, At: at(time.Second), Type: "TaskFailed", RelatesTo: of(0), Error: "down"},
		{ID: 1, At: at(time.Second), Type: "TimerCreated", Name: "signal"},
		{ID: -1, At: at(3 * time.Second), Type: "TimerFired", RelatesTo: of(1)},
		{ID: 2, At: at(3 * time.Second), Type: "TaskScheduled", Name: "ChargePayment"},
		{ID: -1, At: at(4 * time.Second), Type: "TaskCompleted", RelatesTo: of(2)},
		{ID: 3, At: at(4 * time.Second), Type: "TimerCreated", Name: "signal"},
		{ID: -1, At: at(4 * time.Hour), Type: "EventRaised", Name: "signal", Data: []byte(`{"kind":"carrier","data":{"dispatched":false}}`)},
		{ID: 4, At: at(4 * time.Hour), Type: "TaskScheduled", Name: "RefundPayment"},
	}
	got := timelineOf(events, at(5*time.Hour))
	want := []struct{ row, class, title string }{
		{"ChargePayment", "failed", "ChargePayment failed: down (1s)"},
		{"ChargePayment", "wait", "waiting to retry (2s)"},
		{"ChargePayment", "done", "ChargePayment (1s)"},
		{"waiting", "wait", "waiting (4h0m)"},
		{"ChargePayment", "open undo", "RefundPayment: in progress"},
	}
	if len(got.Bars) != len(want) || len(got.Rows) != 3 || len(got.Marks) != 1 || got.Marks[0].Label != "carrier" {
		t.Fatalf("timeline has %d bars, %d rows, marks %+v, want %d bars, 3 rows, a mark for carrier",
			len(got.Bars), len(got.Rows), got.Marks, len(want))
	}
	end := labelWidth
	for i, b := range got.Bars {
		label := ""
		for _, r := range got.Rows {
			if r.Y == b.Y+barHeight/2+5 {
				label = r.Label
			}
		}
		if label != want[i].row || b.Class != want[i].class || b.Title != want[i].title {
			t.Errorf("bar %d in row %s = %+v, want %+v", i, label, b, want[i])
		}
		if b.X < end-.01 || b.W < minWidth {
			t.Errorf("bar %d starts at %.1f and is %.1f wide, want a start at %.1f or later, and %.1f or wider", i, b.X, b.W, end, minWidth)
		}
		end = b.X + b.W
	}
	if end > labelWidth+plotWidth+.01 || len(got.Ticks) < 4 || got.Ticks[0].Label != "+0s" {
		t.Errorf("last bar ends at %.1f, want %.1f or less; ticks %+v, want 4 or more from +0s", end, labelWidth+plotWidth, got.Ticks)
	}
	if len(got.Fails) != 1 || got.Fails[0].Activity != "ChargePayment" || got.Fails[0].Error != "down" || got.Fails[0].After != "+1s" {
		t.Errorf("failed attempts = %+v, want one of ChargePayment after 1s, with the error down", got.Fails)
	}
	if last := got.Bars[len(got.Bars)-1]; len(got.Backs) != 1 || got.Backs[0].Label != "RefundPayment" || got.Backs[0].X < last.X+last.W {
		t.Errorf("compensations = %+v, want one arrow of RefundPayment behind its bar", got.Backs)
	}
	if empty := timelineOf(nil, began); len(empty.Rows) != 0 {
		t.Errorf("timeline of no events = %+v, want no rows", empty)
	}
}

// TestTimelineStopsAtTheEnd checks that nothing lasts longer than its saga,
// however late the chart is drawn.
func TestTimelineStopsAtTheEnd(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	at := began.Add
	fires := at(time.Hour)
	waits := []engine.Event{
		{ID: -1, At: at(0), Type: "ExecutionStarted", Name: "OrderSaga"},
		{ID: 0, At: at(0), Type: "TaskScheduled", Name: "ChargePayment"},
		{ID: 1, At: at(time.Second), Type: "TimerCreated", Name: "signal", FireAt: &fires},
		{ID: -1, At: at(2 * time.Second), Type: "ExecutionSuspended", Data: []byte(`"suspend by ann"`)},
	}
	suspended := mark{Title: "suspended suspend by ann"}
	for name, c := range map[string]struct {
		end   engine.Event
		marks []mark
	}{
		"terminated": {
			engine.Event{ID: -1, At: at(3 * time.Second), Type: "ExecutionTerminated", Data: []byte(`"terminate by bob: lost"`)},
			[]mark{suspended, {Title: "terminated terminate by bob: lost"}},
		},
		"completed": {
			engine.Event{ID: 2, At: at(3 * time.Second), Type: "ExecutionCompleted", Data: []byte(`{}`)},
			[]mark{suspended},
		},
		"failed": {
			engine.Event{ID: 2, At: at(3 * time.Second), Type: "ExecutionCompleted", Error: "panicked"},
			[]mark{suspended, {Title: "failed panicked"}},
		},
	} {
		events := append(slices.Clone(waits), engine.Event{ID: -1, At: at(3*time.Second + time.Microsecond), Type: "WorkflowStarted"}, c.end)
		if name == "terminated" { // the engines record both events
			events = append(events, engine.Event{ID: 0, At: at(3*time.Second + time.Millisecond), Type: "ExecutionCompleted"})
		}
		soon, late := timelineOf(events, at(4*time.Second)), timelineOf(events, at(1000*time.Hour))
		if !reflect.DeepEqual(soon, late) {
			t.Errorf("%s: the chart after 4s and the chart later differ, want no change after the end:\n%+v\n%+v", name, soon, late)
		}
		if len(late.Bars) != 2 || late.Bars[0].Title != "ChargePayment: no result before the saga ended" || late.Bars[1].Title != "waiting (2s)" {
			t.Errorf("%s: bars = %+v, want ChargePayment without a result and a wait of 2s", name, late.Bars)
		}
		if len(late.Marks) != len(c.marks) {
			t.Fatalf("%s: marks = %+v, want %d", name, late.Marks, len(c.marks))
		}
		if b := late.Bars[1]; name == "terminated" && b.X+b.W > late.Marks[1].X+.01 {
			t.Errorf("bar %+v ends after the termination %+v, want it to end by then", b, late.Marks[1])
		}
		for i, m := range c.marks {
			if late.Marks[i].Title != m.Title {
				t.Errorf("%s: mark %d = %+v, want title %s", name, i, late.Marks[i], m.Title)
			}
		}
	}
	if reflect.DeepEqual(timelineOf(waits, at(4*time.Second)), timelineOf(waits, at(time.Hour))) {
		t.Error("the chart of an open saga does not grow with time, want it to grow")
	}
}

func TestShortHasThreeDigits(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		1234 * time.Nanosecond: "1µs", 1234567 * time.Nanosecond: "1.2ms", 1234 * time.Millisecond: "1.23s",
		5 * time.Minute: "5m", 61 * time.Second: "1m1s", 26*time.Hour + 5*time.Minute + time.Second: "26h5m", 0: "0s",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%s) = %s, want %s", d, got, want)
		}
	}
}
