package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// Deviations lists what an engine does otherwise than the contract that the tests
// of identity check. The embedded engine has none. Those of Dapr are in
// docs/adr/0027-answers-belong-to-one-execution.md.
type Deviations struct {
	// FormerActivityFails: the answer to an activity of an earlier generation, if it
	// comes first, ends that of the current one which has its number. It fails then.
	FormerActivityFails bool
	// FormerChildAnswers: the answer of a child of an earlier generation is taken for
	// that of the current generation's child which has its number.
	FormerChildAnswers bool
	// FormerChildKeepsID: the id of an instance that was terminated cannot be started
	// again before its children have ended.
	FormerChildKeepsID bool
	// TerminatesByID: the termination of a parent also reaches an instance that is
	// not its child, but has the id of one that could not be started.
	TerminatesByID bool
	// LateEventIsDropped: an event that is accepted while an instance ends is not in
	// its history.
	LateEventIsDropped bool
}

// generation is the input of workflow Generations.
type generation struct {
	Kind string `json:"kind"` // of its first task: activity, late activity, child or timer
	N    int    `json:"n"`
}

// family is the input of workflow Parent.
type family struct {
	ID    string `json:"id"`              // of the child
	Name  string `json:"name"`            // of its workflow
	Input string `json:"input,omitempty"` // of the child
	Stays bool   `json:"stays,omitempty"` // the parent waits for the event "go" when the child has failed
}

// addIdentity registers these workflows, and activity Gate, which passes the gate
// that is its input and returns that:
//
//	Gated        calls Gate with its input and returns the result
//	InTurn       waits for the event "go", and passes the gate that is its input within that turn
//	Parent       runs a child; see family
//	Generations  begins a task, waits for "go", passes gate ID/turn within that turn,
//	             and continues as new, to begin a task with the same number and return its result
func (w *World) addIdentity(r *task.TaskRegistry) error {
	return errors.Join(
		r.AddActivityN("Gate", func(ctx task.ActivityContext) (any, error) {
			var name string
			if err := ctx.GetInput(&name); err != nil {
				return nil, err
			}
			return name, w.pass(ctx.Context(), name)
		}),
		r.AddWorkflowN("Gated", func(ctx *task.WorkflowContext) (any, error) {
			var name, got string
			if err := ctx.GetInput(&name); err != nil {
				return nil, err
			}
			err := ctx.CallActivity("Gate", task.WithActivityInput(name)).Await(&got)
			return got, err
		}),
		r.AddWorkflowN("InTurn", func(ctx *task.WorkflowContext) (any, error) {
			var name string
			if err := ctx.GetInput(&name); err != nil {
				return nil, err
			}
			if err := ctx.WaitForSingleEvent("go", -1).Await(nil); err != nil {
				return nil, err
			}
			return name, w.pass(context.Background(), name)
		}),
		r.AddWorkflowN("Parent", func(ctx *task.WorkflowContext) (any, error) {
			var f family
			if err := ctx.GetInput(&f); err != nil {
				return nil, err
			}
			var got any
			err := ctx.CallChildWorkflow(f.Name, task.WithChildWorkflowInstanceID(f.ID), task.WithChildWorkflowInput(f.Input)).Await(&got)
			if err != nil && f.Stays {
				ctx.SetCustomStatus("stays")
				return nil, ctx.WaitForSingleEvent("go", -1).Await(nil)
			}
			return got, err
		}),
		r.AddWorkflowN("Generations", w.generations),
	)
}

func (w *World) generations(ctx *task.WorkflowContext) (any, error) {
	var g generation
	if err := ctx.GetInput(&g); err != nil {
		return nil, err
	}
	name := fmt.Sprint(ctx.ID, "/", g.N)
	var begun task.Task
	switch g.Kind {
	case "activity", "late activity":
		begun = ctx.CallActivity("Gate", task.WithActivityInput(name))
	case "child":
		begun = ctx.CallChildWorkflow("Gated", task.WithChildWorkflowInput(name),
			task.WithChildWorkflowInstanceID(fmt.Sprint(ctx.ID, "-child", g.N)))
	default:
		if g.N == 0 {
			begun = ctx.CreateTimer(300 * time.Millisecond)
		} else {
			begun = ctx.WaitForSingleEvent("end", time.Hour) // its time-out is the first timer of this generation
		}
	}
	if g.N > 0 {
		var got string
		err := begun.Await(&got)
		return got, err
	}
	if err := ctx.WaitForSingleEvent("go", -1).Await(nil); err != nil {
		return nil, err
	}
	if err := w.pass(context.Background(), string(ctx.ID)+"/turn"); err != nil {
		return nil, err
	}
	ctx.ContinueAsNew(generation{Kind: g.Kind, N: g.N + 1})
	return nil, nil
}

// identityTests are the tests of what belongs to which instance, generation and
// execution.
func identityTests(d Deviations) map[string]func(*testing.T, client, *World, string) {
	return map[string]func(*testing.T, client, *World, string){
		"activity-of-former-generation": func(t *testing.T, e client, w *World, p string) {
			continueAsNew(t, e, w, p+"g", "activity")
			continueAsNew(t, e, w, p+"late", "late activity")
			e.want(t, p+"late", engine.Completed, `"`+p+`late/1"`)
			if !d.FormerActivityFails {
				e.want(t, p+"g", engine.Completed, `"`+p+`g/1"`)
			} else if i := e.wait(t, p+"g"); !strings.Contains(i.Failure, engine.AnswerLost().GetErrorMessage()) {
				t.Errorf("the new generation is %s with output %s (%s), want FAILED with %q",
					i.Status, i.Output, i.Failure, engine.AnswerLost().GetErrorMessage())
			}
		},
		"child-of-former-generation": func(t *testing.T, e client, w *World, p string) {
			want := p + "g/1"
			if d.FormerChildAnswers {
				want = p + "g/0"
			}
			continueAsNew(t, e, w, p+"g", "child")
			e.want(t, p+"g", engine.Completed, `"`+want+`"`)
		},
		"timer-of-former-generation": func(t *testing.T, e client, w *World, p string) {
			continueAsNew(t, e, w, p+"g", "timer")
			require.NoError(t, e.Raise(t.Context(), p+"g", "end", "in time"))
			e.want(t, p+"g", engine.Completed, `"in time"`)
		},
		"activity-of-former-execution": func(t *testing.T, e client, w *World, p string) {
			e.start(t, "Gated", p+"x", p+"old")
			w.AwaitGate(t, p+"old")
			beginAnew(t, e, w, p, false, func() {})
			e.want(t, p+"x", engine.Completed, `"`+p+`new"`)
		},
		"child-of-former-execution": func(t *testing.T, e client, w *World, p string) {
			e.start(t, "Parent", p+"x", family{ID: p + "kid", Name: "InTurn", Input: p + "old"})
			e.becomes(t, p+"kid", engine.Running)
			require.NoError(t, e.Raise(t.Context(), p+"kid", "go", nil))
			w.AwaitGate(t, p+"old")
			beginAnew(t, e, w, p, d.FormerChildKeepsID, func() { e.wait(t, p+"kid") })
			e.want(t, p+"x", engine.Completed, `"`+p+`new"`)
		},
		"child-id-taken":   func(t *testing.T, e client, _ *World, p string) { childIDTaken(t, e, p, d) },
		"child-id-invalid": childIDInvalid,
		"child-terminated": childTerminated,
		"late-event":       func(t *testing.T, e client, w *World, p string) { lateEvent(t, e, w, p, d) },
		"id-limits":        idLimits,
	}
}

func (c client) becomes(t testing.TB, id string, want engine.RuntimeStatus) {
	t.Helper()
	waitUntil(t, id+" to be "+string(want), func() bool { i, _ := c.Get(t.Context(), id); return i.Status == want })
}

// continueAsNew starts workflow Generations and lets it continue as new, while the
// answer to the first task of generation 0 arrives. The first task of generation 1
// is answered after that.
func continueAsNew(t *testing.T, e client, w *World, id, kind string) {
	t.Helper()
	e.start(t, "Generations", id, generation{Kind: kind})
	due := time.After(500 * time.Millisecond) // if it is a timer
	if kind != "timer" {
		w.AwaitGate(t, id+"/0")
	}
	require.NoError(t, e.Raise(t.Context(), id, "go", nil))
	w.AwaitGate(t, id+"/turn")
	if kind == "timer" {
		<-due
	}
	if kind == "late activity" { // which ends while that of the new generation runs
		w.Open(id + "/turn")
		w.AwaitGate(t, id+"/1")
	}
	w.Open(id + "/0")
	if kind == "child" { // on Dapr it ends when its parent's turn is over
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, _ = e.Wait(ctx, id+"-child0")
	}
	w.Open(id + "/turn")
	if kind == "child" {
		e.want(t, id+"-child0", engine.Completed, `"`+id+`/0"`)
	}
	if kind == "activity" || kind == "child" {
		w.AwaitGate(t, id+"/1")
	}
	w.Open(id + "/1")
}

// beginAnew terminates p+"x", whose task waits at gate p+"old", and starts it again
// with a task at gate p+"new". The answer to the old task, which has arrived when
// answered returns, comes first. With refused set, Start must fail before that.
func beginAnew(t *testing.T, e client, w *World, p string, refused bool, answered func()) {
	t.Helper()
	require.NoError(t, e.Terminate(t.Context(), p+"x", "enough"))
	e.want(t, p+"x", engine.Terminated, `"enough"`)
	err := e.Start(t.Context(), "Gated", p+"x", p+"new")
	if (err != nil) != refused {
		t.Fatalf("Start while a task of the former execution runs = %v, want an error: %v", err, refused)
	}
	if !refused {
		w.AwaitGate(t, p+"new")
	}
	w.Open(p + "old")
	answered()
	if refused {
		waitUntil(t, "the id to be free", func() bool { return e.Start(t.Context(), "Gated", p+"x", p+"new") == nil })
		w.AwaitGate(t, p+"new")
	}
	w.Open(p + "new")
}

func childIDTaken(t *testing.T, e client, p string, d Deviations) {
	e.start(t, "Listen", p+"taken", nil)
	e.becomes(t, p+"taken", engine.Running)
	e.start(t, "Parent", p+"fails", family{ID: p + "taken", Name: "Chain"})
	if i := e.wait(t, p+"fails"); i.Status != engine.Failed || !strings.Contains(i.Failure, p+"taken") {
		t.Errorf("a parent whose child's id is taken is %s (%s), want FAILED with the child's id", i.Status, i.Failure)
	}
	e.start(t, "Parent", p+"stays", family{ID: p + "taken", Name: "Chain", Stays: true})
	waitUntil(t, "the parent to go on without its child", func() bool {
		i, _ := e.Get(t.Context(), p+"stays")
		return strings.Contains(i.CustomStatus, "stays")
	})
	require.NoError(t, e.Terminate(t.Context(), p+"stays", "stop"))
	e.want(t, p+"stays", engine.Terminated, `"stop"`)
	if d.TerminatesByID {
		e.want(t, p+"taken", engine.Terminated, `"stop"`)
		return
	}
	require.NoError(t, e.Purge(t.Context(), p+"stays"), e.Raise(t.Context(), p+"taken", "go", "mine"))
	e.want(t, p+"taken", engine.Completed, `"mine"`)
	require.NoError(t, e.Purge(t.Context(), p+"fails"))
	e.want(t, p+"taken", engine.Completed, `"mine"`) // it was not purged as a child
}

func childIDInvalid(t *testing.T, e client, _ *World, p string) {
	for name, child := range map[string]string{"separator": p + "a||b", "long": strings.Repeat("x", engine.MaxIDLength+1)} {
		e.start(t, "Parent", p+name, family{ID: child, Name: "Chain"})
		if i := e.wait(t, p+name); i.Status != engine.Failed || !strings.Contains(i.Failure, engine.ErrInvalidID.Error()) {
			t.Errorf("a parent whose child's id is invalid (%s) is %s (%s), want FAILED with %v", name, i.Status, i.Failure, engine.ErrInvalidID)
		}
	}
}

func childTerminated(t *testing.T, e client, _ *World, p string) {
	e.start(t, "Parent", p+"x", family{ID: p + "kid", Name: "Listen"})
	e.becomes(t, p+"kid", engine.Running)
	require.NoError(t, e.Terminate(t.Context(), p+"kid", "stop"))
	e.want(t, p+"kid", engine.Terminated, `"stop"`)
	if i := e.wait(t, p+"x"); i.Status != engine.Failed || !strings.Contains(i.Failure, p+"kid was terminated") {
		t.Errorf("the parent of a terminated child is %s with output %s (%s), want FAILED because it was terminated",
			i.Status, i.Output, i.Failure)
	}
}

// lateEvent checks that an event which is accepted during an instance's last turn is
// in its history.
func lateEvent(t *testing.T, e client, w *World, p string, d Deviations) {
	e.start(t, "InTurn", p+"x", p+"turn")
	require.NoError(t, e.Raise(t.Context(), p+"x", "go", nil))
	w.AwaitGate(t, p+"turn")
	raised := make(chan error, 1)
	go func() { raised <- e.Raise(t.Context(), p+"x", "late", 1) }()
	var err error
	select {
	case err = <-raised:
		w.Open(p + "turn")
	case <-time.After(2 * time.Second): // Dapr accepts it when the turn is over
		w.Open(p + "turn")
		err = <-raised
	}
	require.NoError(t, err)
	e.want(t, p+"x", engine.Completed, `"`+p+`turn"`)
	h, err := e.History(t.Context(), p+"x")
	require.NoError(t, err)
	kept := slices.ContainsFunc(h, func(ev engine.Event) bool { return ev.Type == "EventRaised" && ev.Name == "late" })
	if kept == d.LateEventIsDropped {
		t.Errorf("the event accepted during the last turn is in the history: %v, want %v", kept, !d.LateEventIsDropped)
	}
	if err := e.Raise(t.Context(), p+"x", "late", 2); !errors.Is(err, engine.ErrEnded) {
		t.Errorf("Raise after the end = %v, want ErrEnded", err)
	}
}

// idLimits checks that ids at the limits of engine.CheckID run, are listed and can be
// purged, and that others are rejected.
func idLimits(t *testing.T, e client, _ *World, p string) {
	valid := []string{
		p + "a b:c~2", p + `%_*.'"[]{}&<>`, p + "Ünï-Ελλάς", p + "@$,;=+!()^`", p + strings.Repeat("x", engine.MaxIDLength-len(p)),
	}
	for _, id := range valid {
		e.start(t, "Chain", id, nil)
	}
	for _, id := range valid {
		e.want(t, id, engine.Completed, "3")
	}
	var listed []string
	for cursor := ""; ; {
		ids, next, err := e.List(t.Context(), cursor, engine.MaxListLimit)
		require.NoError(t, err)
		listed = append(listed, ids...)
		cursor = next
		if cursor == "" {
			break
		}
	}
	for _, id := range valid {
		if !slices.Contains(listed, id) {
			t.Errorf("List lacks %q, want it there", id)
		}
		if err := e.Purge(t.Context(), id); err != nil {
			t.Errorf("Purge of %q = %v, want nil", id, err)
		}
	}
	for _, id := range []string{"", p + "a||b", p + "a/b", p + strings.Repeat("x", engine.MaxIDLength)} {
		if err := e.Start(t.Context(), "Chain", id, nil); !errors.Is(err, engine.ErrInvalidID) {
			t.Errorf("Start of %.30q… = %v, want ErrInvalidID", id, err)
		}
	}
	for _, limit := range []int{0, engine.MaxListLimit + 1} {
		if _, _, err := e.List(t.Context(), "", limit); !errors.Is(err, engine.ErrInvalidLimit) {
			t.Errorf("List with limit %d = %v, want ErrInvalidLimit", limit, err)
		}
	}
}
