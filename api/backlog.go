package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/fleet"
)

// Backlog is how much work there is, for an autoscaler of workers.
type Backlog struct {
	Work   int `json:"work" doc:"Sagas with work to do now or within a minute. All orders that await the carrier count as one."`
	Live   int `json:"live" doc:"Sagas that have not ended."`
	Asleep int `json:"asleep" doc:"Sagas that only await an operator or an approval. They need no worker."`
}

const (
	backlogPath = "/load"
	// backlogAge is how long a response is reused for all clients: it takes dozens of
	// reads.
	backlogAge = time.Second
	// wakeEarly is how long before the end of a wait its saga counts as work, so that a
	// worker is ready by then.
	wakeEarly = time.Minute
)

type backlogOutput struct{ Body Backlog }

type backlogCache struct {
	mu   sync.Mutex
	last fleet.Backlog
	at   time.Time
}

// backlog registers the autoscaler's operation. It reads the index of the orders table,
// which is correct also while no worker runs.
func (s *server) backlog(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "load", Method: http.MethodGet, Path: backlogPath, Tags: []string{"health"}, Security: noToken,
		Summary:     "Read the backlog of the workers",
		Description: "KEDA scales the workers by it and by the queue. It needs no token: it contains no order.",
	}, func(ctx context.Context, _ *struct{}) (*backlogOutput, error) {
		b, err := s.currentBacklog(ctx)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return &backlogOutput{Body: Backlog{Work: b.Work(), Live: b.Live, Asleep: b.Idle}}, nil
	})
}

func (s *server) currentBacklog(ctx context.Context) (fleet.Backlog, error) {
	s.backlogs.mu.Lock()
	defer s.backlogs.mu.Unlock()
	if now := time.Now(); now.Sub(s.backlogs.at) > backlogAge {
		b, err := s.Fleet.Backlog(ctx, now.Add(wakeEarly))
		if err != nil {
			return b, err
		}
		s.backlogs.last, s.backlogs.at = b, now
	}
	return s.backlogs.last, nil
}
