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

// beat says that this worker lives, how many sagas it has and what it did, for
// the overview, until ctx ends. What keeps it from saying so keeps the worker
// from nothing.
func (w *Worker) beat(ctx context.Context) {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	me := fleet.Worker{ID: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), uuid.NewString()[:4])} // in a container each is process 1
	tick := time.NewTicker(fleet.HeartbeatInterval)
	defer tick.Stop()
	for {
		var err error
		if me.Sagas, err = w.ownSagas(ctx); err == nil {
			w.metrics.lately.say(&me)
			err = w.parts.Fleet.Heartbeat(ctx, me)
		}
		if err != nil && ctx.Err() == nil {
			w.Logger.Warn().Err(err).Msg("cannot say that this worker lives")
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			me.Stopped = true
			w.metrics.lately.say(&me)
			if err := w.parts.Fleet.Heartbeat(last, me); err != nil {
				w.Logger.Debug().Err(err).Msg("others will see this worker for some seconds more")
			}
			return
		case <-tick.C:
		}
	}
}

// ownSagas counts what this worker runs; Dapr shares sagas out among workers.
func (w *Worker) ownSagas(ctx context.Context) (int, error) {
	if e, ok := w.parts.Engine.(*dapr.Engine); ok {
		return e.Hosted(ctx)
	}
	st, err := w.parts.Engine.Stats(ctx)
	return st.Live, err
}
