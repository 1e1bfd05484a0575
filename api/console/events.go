package console

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// eventRow is a row of the page's table of events: an event, together with the
// one that completed it, if any.
type eventRow struct {
	ID    string // number of the action in the history, "" if the event is none
	Types string // of both events
	Name  string
	From  time.Time
	To    time.Time // zero if no event has completed it
	Due   *time.Time
	Took  string // duration, or why it is unknown
	Input, Output,
	Error string
}

// eventRows pairs each event that scheduled something with the event of its
// result, in the order of the first ones. It omits WorkflowStarted, which only
// records that the workflow's code ran again.
func eventRows(events []engine.Event, now time.Time) (all []eventRow) {
	_, over := endOf(events, now)
	started, ends := map[int]bool{}, map[int]engine.Event{}
	for _, e := range events {
		if scheduled(e) { // other events have ids too; the last one's may equal an action's
			started[e.ID] = true
		}
		if e.RelatesTo != nil {
			ends[*e.RelatesTo] = e
		}
	}
	room := maxPanes
	pane := func(data json.RawMessage) string {
		if room <= 0 && len(data) > 0 {
			return cut
		}
		text := pretty(data)
		room -= len(text)
		return text
	}
	for _, e := range events {
		if e.Type == "WorkflowStarted" {
			continue
		}
		h := eventRow{Types: e.Type, Name: e.Name, From: e.At, Due: e.FireAt, Error: e.Error}
		if e.RelatesTo != nil {
			if started[*e.RelatesTo] {
				continue // it is in the row of the event that it completes
			}
			h.Types += " of " + strconv.Itoa(*e.RelatesTo)
		}
		if e.ID >= 0 {
			h.ID = strconv.Itoa(e.ID)
		}
		end, ended := ends[e.ID]
		switch {
		case scheduled(e) && ended:
			h.Types += " → " + end.Type
			h.To, h.Took, h.Output, h.Error = end.At, short(end.At.Sub(e.At)), pane(end.Data), end.Error
		case e.Type == "TaskScheduled":
			h.Took = unanswered(over)
		case e.Type == "TimerCreated" && over:
			h.Took = "did not fire"
		case e.Type == "TimerCreated":
			h.Took = "has not fired"
		}
		if e.Type == "EventRaised" {
			if kind, _ := signalOf(e); kind != e.Name {
				h.Name += ": " + kind
			}
		}
		if e.Type == "ExecutionCompleted" || e.RelatesTo != nil {
			h.Output = pane(e.Data)
		} else {
			h.Input = pane(e.Data)
		}
		all = append(all, h)
	}
	return all
}

func scheduled(e engine.Event) bool { return e.Type == "TaskScheduled" || e.Type == "TimerCreated" }

// payloads returns the workflow's input and its output: its result, or the
// reason why it was terminated.
func payloads(events []engine.Event) (input, output string) {
	for _, e := range events {
		switch e.Type {
		case "ExecutionStarted":
			input = pretty(e.Data)
		case "ExecutionCompleted", "ExecutionTerminated":
			output = pretty(e.Data)
		}
	}
	return input, output
}

const (
	maxPanes = 2 << 20  // bytes of all events together: a history may have tens of MiB
	maxPane  = 64 << 10 // bytes of one event, which may have data of any size
	maxDepth = 32       // deeper JSON is not indented, because indentation multiplies its size
	cut      = "… truncated: ordersaga saga history -o json prints all of it"
)

// pretty returns indented JSON, truncated to maxPane.
func pretty(data json.RawMessage) string {
	var b bytes.Buffer
	text := string(data)
	if len(data) <= maxPane && depthOf(data) <= maxDepth && json.Indent(&b, data, "", "  ") == nil {
		text = b.String()
	}
	if len(text) > maxPane {
		text = strings.ToValidUTF8(text[:maxPane], "") + "\n" + cut
	}
	return text
}

// depthOf returns how deeply JSON is nested. It ignores brackets in strings.
func depthOf(data json.RawMessage) (deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}
