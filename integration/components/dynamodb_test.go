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

	// A small one works, which is what misleads.
	require.NoError(t, e.Start(t.Context(), "wide", "small", waves{1, 5}))
	if got, err := e.Wait(t.Context(), "small"); err != nil || string(got.Output) != "5" {
		t.Errorf("%s %v", got.Output, err)
	}
	if ids, _, err := e.List(t.Context(), "", 10); err == nil || !strings.Contains(err.Error(), "does not support listing keys") {
		t.Errorf("%v %v: sagas can be listed by now", ids, err)
	}

	// One whose history has grown beyond that ends well, and can never be purged:
	// retention would try for ever.
	require.NoError(t, e.Start(t.Context(), "wide", "longer", waves{2, 26}))
	if got, err := e.Wait(t.Context(), "longer"); err != nil || string(got.Output) != "52" {
		t.Errorf("%s %v", got.Output, err)
	}
	if err := e.Purge(t.Context(), "longer"); err == nil || !strings.Contains(err.Error(), tooMany) {
		t.Errorf("purged: %v", err)
	}

	// DynamoDB changes at most 100 items at once, and a workflow is one item for
	// each event of its history. One of more steps at once never gets on, and
	// whoever waits learns nothing of it.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := e.Start(ctx, "wide", "wider", waves{1, 120}); !errors.Is(err, context.DeadlineExceeded) && status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("started: %v", err)
	}
	if !log.has(tooMany) {
		t.Error("nor does Dapr's log say why")
	}
}
