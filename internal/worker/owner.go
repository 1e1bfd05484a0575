package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ordersaga/ordersaga/internal/fleet"
)

// ownership keeps two embedded workers with states of their own off one queue:
// each would get orders, answers and decisions that are the other's. It is the
// state that owns, and not the process: who comes with the same data directory
// goes on with its sagas, and nobody else can, whether or not that one runs.
type ownership struct {
	fleet *fleet.Registry
	id    string
	kept  bool // the state outlives the process
}

// stateID is the file in the data directory with the state's id. It lies beside
// the engine's folder: a repair or a loss of that makes it no other state.
const stateID = "worker.id"

func (w *Worker) own(ctx context.Context, registry *fleet.Registry) (*ownership, error) {
	o := &ownership{fleet: registry, id: uuid.NewString(), kept: w.DataDir != ""}
	if o.kept {
		var err error
		if o.id, err = readOrWrite(filepath.Join(w.DataDir, stateID), o.id); err != nil {
			return nil, fmt.Errorf("id of the engine's state: %w", err)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	err = registry.AcquireOwnership(ctx, fleet.Owner{ID: o.id, Host: host, PID: os.Getpid()}, w.ForceOwnership)
	return o, err
}

// readOrWrite returns the file's line, or writes it. The engine's lock keeps
// others away.
func readOrWrite(file, line string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil && len(strings.TrimSpace(string(b))) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return line, os.WriteFile(file, []byte(line+"\n"), 0o600)
}

// watch returns an error when another worker has taken over.
func (o *ownership) watch(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := o.fleet.VerifyOwnership(ctx, o.id)
		if _, other := errors.AsType[*fleet.OwnedError](err); other && ctx.Err() == nil {
			return fmt.Errorf("this worker was taken over from: %w", err)
		}
	}
}

// release is called when the worker ends.
func (o *ownership) release() error {
	if o == nil || o.kept {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return o.fleet.ReleaseOwnership(ctx, o.id)
}
