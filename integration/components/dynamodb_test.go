package components

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestWorkflowsOnDynamoDB shows why components/aws has no workflow state there:
// docs/adr/0012-do-not-store-workflows-in-dynamodb.md.
func TestWorkflowsOnDynamoDB(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, err := os.ReadFile(filepath.Join(shipped(t, ""), "cursorstore.yaml"))
	require.NoError(t, err)
	text := strings.ReplaceAll(string(b), "name: cursorstore", "name: statestore")
	text = strings.Replace(text, "  metadata:\n    - ", "  metadata:\n    - name: actorStateStore\n      value: \"true\"\n    - ", 1)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "statestore.yaml"), []byte(text), 0o600))
	var log logged
	e := newWorker(t, w.dapr(t, with(dir), into(&log)))

	const tooMany = "the transaction contains more operations than supported by the state store"

	// A small workflow works.
	require.NoError(t, e.Start(t.Context(), "wide", "small", waves{N: 1, Width: 5}))
	if got, err := e.Wait(t.Context(), "small"); err != nil || string(got.Output) != "5" {
		t.Errorf("output of the small workflow = %s (error %v), want 5", got.Output, err)
	}
	if ids, _, err := e.List(t.Context(), "", 10); err == nil || !strings.Contains(err.Error(), "does not support listing keys") {
		t.Errorf("List = %v (error %v), want the error that this state store cannot list", ids, err)
	}

	// A workflow with a longer history completes, but can never be purged: retention would retry
	// indefinitely.
	require.NoError(t, e.Start(t.Context(), "wide", "longer", waves{N: 2, Width: 26}))
	if got, err := e.Wait(t.Context(), "longer"); err != nil || string(got.Output) != "52" {
		t.Errorf("output of the longer workflow = %s (error %v), want 52", got.Output, err)
	}
	if err := e.Purge(t.Context(), "longer"); err == nil || !strings.Contains(err.Error(), tooMany) {
		t.Errorf("purge of the longer workflow: %v, want an error with %q", err, tooMany)
	}

	// A transaction of DynamoDB changes at most 100 items, and a workflow has one item for each
	// event of its history. A workflow with more concurrent steps makes no progress, and its
	// client receives no error.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err = e.Start(ctx, "wide", "wider", waves{N: 1, Width: 120})
	if !errors.Is(err, context.DeadlineExceeded) && status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("start of the wider workflow: %v, want a deadline exceeded", err)
	}
	if !log.has(tooMany) {
		t.Errorf("Dapr's log does not have %q, want this reason", tooMany)
	}
}
