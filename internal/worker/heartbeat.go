package worker

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/fleet"
)

// heartbeat writes this worker's heartbeat until ctx ends: that it is alive, how many
// sagas it has, and its recent statistics, for the overview. A heartbeat that fails is
// logged and stops nothing.
func (w *Worker) heartbeat(ctx context.Context) {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	self := fleet.Worker{ID: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), uuid.NewString()[:4])} // in a container each is process 1
	tick := time.NewTicker(fleet.HeartbeatInterval)
	defer tick.Stop()
	for {
		err := w.sendHeartbeat(ctx, &self)
		if err != nil && ctx.Err() == nil {
			w.Logger.Warn().Err(err).Msg("worker heartbeat failed")
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			self.Stopped = true
			w.metrics.recent.snapshot(&self)
			if err := w.parts.Fleet.Heartbeat(last, self); err != nil {
				w.Logger.Debug().Err(err).Msg("last heartbeat failed; the overview shows this worker as alive for some seconds")
			}
			return
		case <-tick.C:
		}
	}
}

func (w *Worker) sendHeartbeat(ctx context.Context, self *fleet.Worker) error {
	n, err := w.ownSagas(ctx)
	if err != nil {
		return err
	}
	self.Sagas = n
	w.metrics.recent.snapshot(self)
	return w.parts.Fleet.Heartbeat(ctx, *self)
}

// ownSagas counts the sagas that this worker runs; Dapr distributes sagas among workers.
func (w *Worker) ownSagas(ctx context.Context) (int, error) {
	if e, ok := w.parts.Engine.(*dapr.Engine); ok {
		return e.Hosted(ctx)
	}
	st, err := w.parts.Engine.Stats(ctx)
	return st.Live, err
}
