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

// ownership keeps two embedded workers with states of their own off one queue: each
// would receive orders, answers and decisions that belong to the other's sagas. The
// state is the owner, not the process. A worker that starts with the same data
// directory continues its sagas; no other worker can, whether or not that one runs.
type ownership struct {
	fleet *fleet.Registry
	id    string
	kept  bool // the state outlives the process
}

// stateID is the file in the data directory with the state's id. It lies beside the
// engine's folder: after that is repaired or lost, the state keeps its id.
const stateID = "worker.id"

// acquireOwnership makes this worker's state the owner of the sagas. It returns a
// *fleet.OwnedError if another state owns them and ForceOwnership is not set.
func (w *Worker) acquireOwnership(ctx context.Context, registry *fleet.Registry) (*ownership, error) {
	o := &ownership{fleet: registry, id: uuid.NewString(), kept: w.DataDir != ""}
	if o.kept {
		id, err := readOrWrite(filepath.Join(w.DataDir, stateID), o.id)
		if err != nil {
			return nil, fmt.Errorf("id of the engine's state: %w", err)
		}
		o.id = id
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	err = registry.AcquireOwnership(ctx, fleet.Owner{ID: o.id, Host: host, PID: os.Getpid()}, w.ForceOwnership)
	return o, err
}

// readOrWrite returns the file's line, or writes it. The engine's lock excludes other
// processes.
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

// watch verifies the ownership at that interval until ctx ends. It returns an error
// when another worker has taken it.
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

// release gives up the ownership of a state that ends with the process. A nil
// ownership has nothing to release.
func (o *ownership) release() error {
	if o == nil || o.kept {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return o.fleet.ReleaseOwnership(ctx, o.id)
}
