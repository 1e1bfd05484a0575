package enginetest

import (
	"context"
	"testing"
	"time"
)

// gate is a point in workflow code or in an activity at which it waits.
type gate struct{ reached, opened chan struct{} }

func (w *World) gate(name string) gate {
	w.mu.Lock()
	defer w.mu.Unlock()
	g, ok := w.gates[name]
	if !ok {
		g = gate{reached: make(chan struct{}, 1), opened: make(chan struct{})}
		w.gates[name] = g
	}
	return g
}

// pass waits at a gate until it is opened, or ctx ends.
func (w *World) pass(ctx context.Context, name string) error {
	g := w.gate(name)
	select {
	case g.reached <- struct{}{}:
	default:
	}
	select {
	case <-g.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// AwaitGate waits until a workflow or an activity waits at a gate.
func (w *World) AwaitGate(t testing.TB, name string) {
	t.Helper()
	select {
	case <-w.gate(name).reached:
	case <-time.After(30 * time.Second):
		t.Fatalf("nothing waits at gate %s after 30 s, want a workflow or an activity there", name)
	}
}

// Open opens a gate. A gate that is open stays so.
func (w *World) Open(name string) {
	g := w.gate(name)
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-g.opened:
	default:
		close(g.opened)
	}
}
