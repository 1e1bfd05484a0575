package components

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestStateStoreWithoutItsSecrets uses a state store whose secret store does not exist. Dapr lists
// it among its components nevertheless; only the canary detects the fault.
func TestStateStoreWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, err := os.ReadFile(filepath.Join(shipped(t, "redis"), "statestore.yaml"))
	require.NoError(t, err)
	dir := t.TempDir()
	text := strings.ReplaceAll(string(b), "secretStore: secretstore", "secretStore: elsewhere")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "statestore.yaml"), []byte(text), 0o600))
	side := sidecar(t, w.dapr(t, with(dir)), daprlocal.App{ID: "ordersaga"})
	e, err := dapr.Open(t.Context(), dapr.Options{
		Address: side.GRPC, Logger: zerolog.Nop(), Needs: needs, CanaryEvery: 100 * time.Millisecond, CanaryTimeout: time.Second,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx, task.NewTaskRegistry()) }()
	t.Cleanup(func() {
		cancel()
		<-ran // its result does not matter here
		require.NoError(t, e.Close())
	})
	first := e.Ready()
	testkit.Eventually(t, "the canary is lost", func() error {
		if why := e.Ready(); why == nil || why.Error() == first.Error() {
			return errors.New("not yet")
		}
		return nil
	})
	t.Log(e.Ready())
}
