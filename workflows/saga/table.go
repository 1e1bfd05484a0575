package saga

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/replay"
)

// mismatch is the panic that leaves a saga as it is because another program began it.
// It names the difference.
type mismatch string

// row is what of a step decides which actions a saga takes: its name, and parts such
// as "do Pay". Of a function it has only whether there is one.
type row struct {
	name  string
	parts []string
}

// rows returns the saga's table: a row of what is not a step's, and one for each step.
func (sg Saga[S]) rows() []row {
	own := row{name: "saga"}
	own.names("stuck", sg.OnStuck)
	rows := append(make([]row, 0, len(sg.Steps)+1), own)
	for i := range sg.Steps {
		s := &sg.Steps[i]
		r := row{name: s.Name}
		r.names("do", s.Do)
		r.names("undo", s.Undo)
		r.names("manual", s.Manual)
		if w := s.Wait; w != nil {
			r.names("wait", w.Signal)
			r.names("settle", w.Settle)
			r.names("verify", w.Verify)
			r.has("accept late", w.AcceptLate)
		}
		r.has("when", s.When != nil)
		r.has("already started", s.AlreadyStarted != nil)
		r.has("no return", s.PointOfNoReturn)
		rows = append(rows, r)
	}
	return rows
}

func (r *row) names(what, name string) { r.has(what+" "+name, name != "") }

func (r *row) has(part string, is bool) {
	if is {
		r.parts = append(r.parts, part)
	}
}

// String returns the row as it is recorded in the history of every saga: the name, and
// a hash of the parts. What it is for a given row must never change, or no saga in
// flight could continue: TestTablesOfOrders in package workflows has examples.
func (r row) String() string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.Join(r.parts, "\n"))) // never fails: see hash.Hash
	return r.name + "=" + strconv.FormatUint(uint64(h.Sum32()), 36)
}

// compareTable panics with a mismatch if another table began the saga. It returns the
// activities in the history, and whether that has a table; a first turn has none. In the first turn it declares the table.
func compareTable(ctx *task.WorkflowContext, rows []row) (activities []string, recorded bool) {
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = r.String()
	}
	table := strings.Join(lines, ";") // on one line: Dapr shows it in the name of the first activity's span
	past, ok := replay.Recorded(ctx)
	switch {
	case !ok:
		replay.Declare(ctx, table)
	case past.Table != table:
		panic(mismatch(firstDifference(rows, strings.Split(past.Table, ";"))))
	}
	return past.Activities, ok
}

// firstDifference returns where a table differs from the one that was recorded.
func firstDifference(rows []row, was []string) string {
	if rows[0].String() != was[0] {
		return "Saga.OnStuck was another activity"
	}
	for i := 1; i < max(len(rows), len(was)); i++ {
		now, before := "missing", "missing"
		if i < len(rows) {
			now = rows[i].name
		}
		if i < len(was) {
			before, _, _ = strings.Cut(was[i], "=")
		}
		if now != before || i >= len(rows) || i >= len(was) {
			return fmt.Sprintf("step %d is %s, was %s", i, now, before)
		}
		if rows[i].String() != was[i] {
			return fmt.Sprintf("step %d (%s) has changed to %s", i, now, strings.Join(rows[i].parts, ", "))
		}
	}
	return "its table was recorded in another form" // a step's name has a semicolon
}

// comparePast panics with a mismatch if the saga is about to call another activity
// than it has called at this point before. The SDK would not notice: it would take the
// result of the one for that of the other.
func (r *run[S]) comparePast(activity string) {
	if len(r.past) == 0 {
		return
	}
	if was := r.past[0]; was != activity {
		panic(mismatch(fmt.Sprintf("the next activity is %s, was %s", activity, was)))
	}
	r.past = r.past[1:]
}

// ofTask reports whether an error of a task is the activity's own, or that of reading
// its result or an event's payload. All others are the engine's: the replay differs
// from the history.
func ofTask(err error) bool {
	return strings.HasPrefix(err.Error(), taskFailed) || strings.HasPrefix(err.Error(), unreadable)
}
