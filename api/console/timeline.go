package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/workflows"
)

// timeline is the chart of a saga's history: a row for each step, a bar for each
// attempt. A compensation is in the row of the step that it undoes, with an arrow
// back. Lengths are in the units of the chart's viewBox.
type timeline struct {
	Rows   []row
	Bars   []bar
	Backs  []arrowhead
	Marks  []mark
	Ticks  []tick
	Fails  []fail
	Width  float64
	Height float64
}

type row struct {
	Label string
	Y     float64
}

type bar struct {
	X, Y, W float64
	Class   string // done, failed, open, wait; with undo for compensations
	Title   string
}

// arrowhead marks a compensation and has its name.
type arrowhead struct {
	Points string
	X, Y   float64
	Label  string
}

// fail is a failed attempt: a numbered mark at the end of its bar, with its error
// below the chart.
type fail struct {
	X, Y            float64
	N               int
	Activity, Error string
	After           string
}

type mark struct {
	X, Y         float64
	Label, Title string
}

type tick struct {
	X     float64
	Label string
}

const (
	labelWidth   = 170.0
	plotWidth    = 900.0
	rowHeight    = 30.0
	barHeight    = 18.0
	headHeight   = 26.0
	arrowWidth   = 9.0
	minWidth     = 4.0 // of a bar
	tickDistance = 70.0
)

// span is an attempt or a wait, before it is drawn.
type span struct {
	row, activity, class, title string
	from, to                    time.Time
	err                         string
}

// undoes has the step that each compensation undoes.
var undoes = map[string]string{workflows.ReleaseStock: workflows.ReserveStock, workflows.RefundPayment: workflows.ChargePayment}

const rowSignals, rowWaits = "signals", "waiting"

// unanswered describes an activity without a result in the history.
func unanswered(over bool) string {
	if over {
		return "no result before the saga ended"
	}
	return "in progress"
}

// endOf returns when an execution ended, or now if it has not. Nothing in the
// chart lasts longer.
func endOf(events []engine.Event, now time.Time) (at time.Time, over bool) {
	for _, e := range events {
		if e.At.After(at) && e.Type != "WorkflowStarted" { // its time is later than that of the event that caused it
			at = e.At
		}
		if e.Type == "ExecutionCompleted" || e.Type == "ExecutionTerminated" {
			return at, true
		}
	}
	return now, false
}

// timelineOf draws a history. Open spans last until now, or until the execution
// ended.
func timelineOf(events []engine.Event, now time.Time) timeline {
	spans, signals := spansOf(events, now)
	var at []time.Time
	for _, s := range spans {
		at = append(at, s.from, s.to)
	}
	for _, e := range signals {
		at = append(at, e.At)
	}
	if len(at) == 0 {
		return timeline{}
	}
	scale := scaleOf(at)
	t := timeline{Width: labelWidth + plotWidth + 110, Ticks: scale.ticks()}
	rows := map[string]float64{}
	y := func(label string) float64 {
		if _, ok := rows[label]; !ok {
			rows[label] = headHeight + float64(len(rows))*rowHeight
			t.Rows = append(t.Rows, row{Label: label, Y: rows[label] + barHeight/2 + 5})
		}
		return rows[label]
	}
	for _, s := range spans {
		x, top := scale.x(s.from), y(s.row)
		w := max(scale.x(s.to)-x, minWidth)
		t.Bars = append(t.Bars, bar{X: x, Y: top, W: w, Class: s.class, Title: s.title})
		if undoes[s.activity] != "" {
			points := fmt.Sprintf("%.1f,%.1f %.1f,%.1f %.1f,%.1f",
				x-arrowWidth, top+barHeight/2, x+.5, top-2, x+.5, top+barHeight+2)
			b := arrowhead{Points: points, X: x + w + 6, Y: top + barHeight/2 + 4, Label: s.activity}
			if n := len(t.Backs); n > 0 && t.Backs[n-1].Label == b.Label {
				t.Backs[n-1].Label = "" // only its last attempt is labelled
			}
			t.Backs = append(t.Backs, b)
		}
		if s.err != "" {
			t.Fails = append(t.Fails, fail{
				X: x + w, Y: top, N: len(t.Fails) + 1, Activity: s.activity, Error: s.err, After: "+" + short(s.to.Sub(scale.at[0])),
			})
		}
	}
	for _, e := range signals {
		kind, data := signalOf(e)
		t.Marks = append(t.Marks, mark{
			X: scale.x(e.At), Y: y(rowSignals) + barHeight/2, Label: kind, Title: strings.TrimSpace(kind + " " + data),
		})
	}
	t.Height = headHeight + float64(len(rows))*rowHeight + 6
	return t
}

// spansOf returns attempts and waits, and the events to mark. A wait ends with its
// timer or with the first signal. A wait without a time limit has no timer and is
// not found.
func spansOf(events []engine.Event, now time.Time) (spans []span, signals []engine.Event) {
	now, over := endOf(events, now)
	ends := map[int]engine.Event{}
	for _, e := range events {
		if e.RelatesTo != nil {
			ends[*e.RelatesTo] = e
		}
	}
	var lastFailed string // activity whose retry is next
	for i, e := range events {
		switch e.Type {
		case "TaskScheduled":
			s := span{row: cmp.Or(undoes[e.Name], e.Name), activity: e.Name, class: "done", from: e.At, to: now, title: e.Name}
			end, ended := ends[e.ID]
			switch {
			case !ended:
				s.class, s.title = "open", e.Name+": "+unanswered(over)
			case end.Type == "TaskFailed":
				s.class, s.to, s.title, s.err = "failed", end.At, e.Name+" failed: "+end.Error, end.Error
			default:
				s.to = end.At
			}
			lastFailed = ""
			if s.class == "failed" {
				lastFailed = s.row
			}
			if ended {
				s.title += " (" + short(s.to.Sub(s.from)) + ")"
			}
			if undoes[e.Name] != "" {
				s.class += " undo"
			}
			spans = append(spans, s)
		case "TimerCreated":
			s := span{row: rowWaits, class: "wait", from: e.At, to: now, title: "waiting"}
			if lastFailed != "" {
				s.row, s.title = lastFailed, "waiting to retry"
			}
			if end, ended := ends[e.ID]; ended {
				s.to = end.At
			}
			for _, later := range events[i+1:] { // a signal ends it early
				if (later.Type == "EventRaised" || later.Type == "TaskScheduled") && later.At.Before(s.to) {
					s.to = later.At
					break
				}
			}
			s.title += " (" + short(s.to.Sub(s.from)) + ")"
			spans = append(spans, s)
		case "EventRaised", "ExecutionSuspended", "ExecutionResumed", "ExecutionTerminated":
			signals = append(signals, e)
		case "ExecutionCompleted":
			if e.Error != "" {
				signals = append(signals, e)
			}
		}
	}
	return spans, signals
}

// signalOf returns the label of a mark and its data: a signal, or an operation on
// the workflow with its reason.
func signalOf(e engine.Event) (kind, data string) {
	switch e.Type {
	case "ExecutionCompleted":
		return "failed", e.Error
	case "ExecutionSuspended", "ExecutionResumed", "ExecutionTerminated":
		var reason string
		if json.Unmarshal(e.Data, &reason) != nil {
			reason = string(e.Data)
		}
		return strings.ToLower(strings.TrimPrefix(e.Type, "Execution")), reason
	}
	var s struct {
		Kind string          `json:"kind"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(e.Data, &s); err != nil || s.Kind == "" {
		return e.Name, ""
	}
	return s.Kind, string(s.Data)
}

// scale is a time axis on which the distance of two successive events is the
// logarithm of the time between them: a saga has milliseconds of work and days of
// waiting, and both must be visible.
type scale struct {
	at []time.Time
	xs []float64
}

func scaleOf(at []time.Time) scale {
	slices.SortFunc(at, time.Time.Compare)
	at = slices.CompactFunc(at, time.Time.Equal)
	weights, sum := make([]float64, len(at)), 0.0
	for i := 1; i < len(at); i++ {
		weights[i] = math.Log1p(float64(at[i].Sub(at[i-1]).Microseconds()) / 100)
		sum += weights[i]
	}
	s := scale{at: at, xs: make([]float64, len(at))}
	x := labelWidth
	for i, w := range weights {
		if sum > 0 {
			x += w / sum * plotWidth
		}
		s.xs[i] = math.Round(x*10) / 10
	}
	return s
}

func (s scale) x(at time.Time) float64 {
	i, _ := slices.BinarySearchFunc(s.at, at, time.Time.Compare)
	return s.xs[min(i, len(s.xs)-1)]
}

// ticks returns labels with the time since the start, where there is room.
func (s scale) ticks() (ticks []tick) {
	last := math.Inf(-1)
	for i, x := range s.xs {
		if x-last >= tickDistance {
			ticks = append(ticks, tick{X: x, Label: "+" + short(s.at[i].Sub(s.at[0]))})
			last = x
		}
	}
	return ticks
}

// short formats a duration with about three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	case d < time.Hour:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Minute)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	return s
}
