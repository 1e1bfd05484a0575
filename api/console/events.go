package console

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// happening is one thing that a saga did or that came to it: an event, and with
// it the one that ended it, if any did.
type happening struct {
	ID    string // number of the action in the history, "" for what is none
	Types string // of both events
	Name  string
	From  time.Time
	To    time.Time // zero if no event has ended it
	Due   *time.Time
	Took  string // or why it is not known
	Input, Output,
	Error string
}

// happeningsOf pairs the events of a history: what was scheduled with what
// became of it. They are in the order in which they began. Those that say only
// that the workflow's code ran again are left out.
func happeningsOf(events []engine.Event, now time.Time) (all []happening) {
	_, over := endOf(events, now)
	began, ends := map[int]bool{}, map[int]engine.Event{}
	for _, e := range events {
		if scheduled(e) { // others have numbers, too: the end's may be that of an action
			began[e.ID] = true
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
		h := happening{Types: e.Type, Name: e.Name, From: e.At, Due: e.FireAt, Error: e.Error}
		if e.RelatesTo != nil {
			if began[*e.RelatesTo] {
				continue // it is beside its beginning
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

// payloads are what the workflow was given and what it left: its result, or the
// reason for which it was terminated.
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
	maxPanes = 2 << 20  // of all events together: a history may have tens of MiB
	maxPane  = 64 << 10 // what is longer is cut: somebody may have sent anything
	maxDepth = 32       // what is deeper stays on its line: indenting it would make much out of little
	cut      = "… cut: ordersaga saga history -o json has all of it"
)

// pretty is JSON with a line for each of its parts.
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

// depthOf is how deep JSON goes. Brackets in texts do not count.
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
