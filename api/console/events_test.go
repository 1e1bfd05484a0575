package console

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
)

// TestEventRowsPairEventsWithTheirResults checks that an event and its result are
// one row.
func TestEventRowsPairEventsWithTheirResults(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	at := began.Add
	of := func(id int) *int { return &id }
	fires := at(time.Hour)
	events := []engine.Event{
		{ID: -1, At: at(0), Type: "WorkflowStarted"},
		{ID: -1, At: at(0), Type: "ExecutionStarted", Name: "OrderSaga", Data: []byte(`{"order":{"lines":[]}}`)},
		{ID: 0, At: at(0), Type: "TaskScheduled", Name: "ReserveStock", Data: []byte(`[1]`)},
		{ID: 1, At: at(time.Second), Type: "TaskScheduled", Name: "ChargePayment"},
		{ID: -1, At: at(2 * time.Second), Type: "TaskFailed", RelatesTo: of(1), Error: "down"},
		{ID: -1, At: at(3 * time.Second), Type: "TaskCompleted", RelatesTo: of(0), Data: []byte(`{"held":true}`)},
		{ID: 2, At: at(4 * time.Second), Type: "TimerCreated", Name: "signal", FireAt: &fires},
		{ID: -1, At: at(5 * time.Second), Type: "EventRaised", Name: "signal", Data: []byte(`{"kind":"carrier"}`)},
		{ID: -1, At: at(6 * time.Second), Type: "TaskCompleted", RelatesTo: of(9)},
		{ID: 3, At: at(6 * time.Second), Type: "TaskScheduled", Name: "RefundPayment"},
	}
	want := []eventRow{
		{Types: "ExecutionStarted", Name: "OrderSaga", Input: "{\n  \"order\": {\n    \"lines\": []\n  }\n}"},
		{ID: "0", Types: "TaskScheduled → TaskCompleted", Name: "ReserveStock", Took: "3s", Input: "[\n  1\n]", Output: "{\n  \"held\": true\n}"},
		{ID: "1", Types: "TaskScheduled → TaskFailed", Name: "ChargePayment", Took: "1s", Error: "down"},
		{ID: "2", Types: "TimerCreated", Name: "signal", Took: "has not fired"},
		{Types: "EventRaised", Name: "signal: carrier", Input: "{\n  \"kind\": \"carrier\"\n}"},
		{Types: "TaskCompleted of 9"}, // its action is unknown
		{ID: "3", Types: "TaskScheduled", Name: "RefundPayment", Took: "in progress"},
	}
	check := func(got []eventRow) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%d rows %+v, want %d", len(got), got, len(want))
		}
		for i, h := range got {
			h.From, h.To, h.Due = time.Time{}, time.Time{}, nil
			if h != want[i] {
				t.Errorf("row %d = %+v, want %+v", i, h, want[i])
			}
		}
	}
	check(eventRows(events, at(time.Minute)))

	events = append(events, engine.Event{ID: -1, At: at(7 * time.Second), Type: "ExecutionTerminated", Data: []byte(`"by ann"`)},
		engine.Event{ID: 0, At: at(7 * time.Second), Type: "ExecutionCompleted", Data: []byte(`"by ann"`)})
	want[3].Took, want[6].Took = "did not fire", "no result before the saga ended"
	want = append(want, eventRow{Types: "ExecutionTerminated", Input: `"by ann"`},
		eventRow{ID: "0", Types: "ExecutionCompleted", Output: `"by ann"`})
	check(eventRows(events, at(time.Minute)))
	if in, out := payloads(events); !strings.Contains(in, "lines") || out != `"by ann"` {
		t.Errorf("payloads = %s and %s, want the order and \"by ann\"", in, out)
	}
	if all := eventRows(nil, began); len(all) != 0 {
		t.Errorf("rows of no events = %+v, want none", all)
	}
}

// TestPrettyTruncatesLongData checks that data of a client cannot make a page huge.
func TestPrettyTruncatesLongData(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		`"` + strings.Repeat("ä", maxPane) + `"`,
		`[` + strings.Repeat("1,", maxPane/3) + `1]`,
		"not JSON",
	} {
		got := pretty([]byte(data))
		truncated := strings.Contains(got, "… truncated")
		if len(got) > maxPane+100 || !strings.HasPrefix(got, data[:1]) || len(data) > maxPane && !truncated {
			t.Errorf("pretty of %d bytes has %d bytes, want at most %d: %.50s", len(data), len(got), maxPane+100, got)
		}
	}
}

// TestCommandsCanBePasted checks that commands are quoted for a shell, use the
// API's address, and are only those that are possible now.
func TestCommandsCanBePasted(t *testing.T) {
	t.Parallel()
	lines := func(cs commands) string {
		var all []string
		for _, list := range [][]command{cs.Read, cs.Act, cs.Dapr} {
			for _, c := range list {
				all = append(all, c.Text)
			}
		}
		return strings.Join(all, "\n")
	}
	for name, c := range map[string]struct {
		saga          api.Saga
		address, want string
	}{
		"waits": {sagaOf("o-1", order.StatusAwaitingApproval, engine.Running, "embedded"), "", `ordersaga saga show o-1
ordersaga saga history o-1
ordersaga saga history --output json o-1
ordersaga saga approve o-1
ordersaga saga reject o-1
ordersaga saga suspend o-1
ordersaga saga terminate o-1`},
		"stuck, elsewhere": {sagaOf("-rf", order.StatusNeedsAttention, engine.Suspended, "dapr"), "https://x$(id)'", `ordersaga saga show --api 'https://x$(id)'\''' -- -rf
ordersaga saga history --api 'https://x$(id)'\''' -- -rf
ordersaga saga history --output json --api 'https://x$(id)'\''' -- -rf
ordersaga saga resolve --action retry --api 'https://x$(id)'\''' -- -rf
ordersaga saga resolve --action compensate --api 'https://x$(id)'\''' -- -rf
ordersaga saga resolve --action skip --api 'https://x$(id)'\''' -- -rf
ordersaga saga resolve --action resolve --api 'https://x$(id)'\''' -- -rf
ordersaga saga resume --api 'https://x$(id)'\''' -- -rf
ordersaga saga terminate --api 'https://x$(id)'\''' -- -rf
dapr workflow list --app-id ordersaga
dapr workflow history --app-id ordersaga -- -rf
dapr workflow resume --app-id ordersaga -- -rf
dapr workflow terminate --app-id ordersaga -- -rf`},
		"over": {sagaOf("o.2", order.StatusFailed, engine.Completed, "dapr"), "http://host:9000", `ordersaga saga show --api http://host:9000 o.2
ordersaga saga history --api http://host:9000 o.2
ordersaga saga history --output json --api http://host:9000 o.2
ordersaga saga purge --api http://host:9000 o.2
dapr workflow list --app-id ordersaga
dapr workflow history --app-id ordersaga o.2
dapr workflow purge --app-id ordersaga o.2`},
	} {
		if got := lines(commandsOf(c.saga, buttonsOf(c.saga), c.address)); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

func sagaOf(id string, status order.Status, runtime engine.RuntimeStatus, runs string) (s api.Saga) {
	s.OrderID, s.Status, s.Runtime, s.Engine = id, status, runtime, runs
	return s
}

// TestPrettyDoesNotIndentDeepData checks that indentation cannot multiply the
// size of deeply nested data.
func TestPrettyDoesNotIndentDeepData(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 9990) + strings.Repeat("]", 9990)
	brackets := strings.Repeat("}", 20000)
	for _, data := range []string{deep, `["` + brackets + `",` + deep + `]`, `["\"` + brackets + `\\",` + deep + `]`} {
		if text := pretty([]byte(data)); text != data {
			t.Errorf("pretty of %d deep bytes has %d bytes, want them unchanged", len(data), len(text))
		}
	}
	if text := pretty([]byte(`{"text":"[[{\"","list":[1]}`)); strings.Count(text, "\n") != 5 {
		t.Errorf("pretty = %q, want 5 line breaks", text)
	}
}

// TestEventRowsLimitTheirData checks that a history of tens of MiB does not make
// a page of that size.
func TestEventRowsLimitTheirData(t *testing.T) {
	t.Parallel()
	event := engine.Event{ID: -1, Type: "EventRaised", Data: []byte(`"` + strings.Repeat("x", maxPane/2) + `"`)}
	size := 0
	for _, h := range eventRows(slices.Repeat([]engine.Event{event}, 1000), time.Now()) {
		size += len(h.Input)
	}
	if size > maxPanes+maxPane+1000*len(cut) {
		t.Errorf("the page has %d bytes of data, want about %d at most", size, maxPanes)
	}
}
