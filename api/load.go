package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/fleet"
)

// Load is how much there is to do, for an autoscaler of workers.
type Load struct {
	Work   int `json:"work" doc:"Sagas that can go on by themselves, or whose person has answered, or whose wait ends within a minute. Orders that are with the carrier count as one in all."`
	Live   int `json:"live" doc:"Sagas that have not ended."`
	Asleep int `json:"asleep" doc:"Sagas that only wait for a person; no worker has to be there for them."`
}

const (
	loadPath = "/load"
	// loadAge is for how long one answer is given to all who ask: it costs
	// dozens of reads.
	loadAge = time.Second
	// wakeEarly is how long before a wait ends its saga counts as work, so that
	// a worker is there by then.
	wakeEarly = time.Minute
)

type loadOutput struct{ Body Load }

type loadCache struct {
	mu   sync.Mutex
	last fleet.Backlog
	at   time.Time
}

// load is read from the orders index: it is known, and right, where no worker
// runs.
func (s *server) load(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "load", Method: http.MethodGet, Path: loadPath, Tags: []string{"health"}, Security: noToken, Summary: "Say how much there is to do for workers",
		Description: "What KEDA scales them by, beside the queue. It needs no token: it says nothing about any order.",
	}, func(ctx context.Context, _ *struct{}) (*loadOutput, error) {
		l, err := s.loadNow(ctx)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return &loadOutput{Load{Work: l.Work(), Live: l.Live, Asleep: l.Idle}}, nil
	})
}

func (s *server) loadNow(ctx context.Context) (fleet.Backlog, error) {
	s.loads.mu.Lock()
	defer s.loads.mu.Unlock()
	if now := time.Now(); now.Sub(s.loads.at) > loadAge {
		l, err := s.Fleet.Backlog(ctx, now.Add(wakeEarly))
		if err != nil {
			return l, err
		}
		s.loads.last, s.loads.at = l, now
	}
	return s.loads.last, nil
}
