package devenv

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// people are the demo's: they act through the API, as everybody does.
type people struct {
	api  client.Client
	sims Simulators

	mu    sync.Mutex
	acted map[string]time.Time // when, by order
}

func newPeople(at string, sims Simulators) *people {
	return &people{
		api: client.Client{Base: at, HTTP: &http.Client{Transport: &http.Transport{}}}, sims: sims,
		acted: map[string]time.Time{},
	}
}

func (p *people) leave() { p.api.HTTP.CloseIdleConnections() }

// does is what somebody does about an order that waits for one: an action of
// the API, or "" if it waits for nobody, and what is said with it.
func (s *scenario) does(rec orderstore.Record) (action string, say api.ActionNote) {
	switch {
	case rec.Status == order.StatusNeedsAttention:
		return "retry", api.ActionNote{By: "demo operator", Note: "provider is up again"}
	case rec.Status != order.StatusAwaitingApproval:
		return "", say
	case s.person == "cancel":
		return s.person, api.ActionNote{By: "demo customer", Note: "changed my mind"}
	case s.person == "reject":
		return s.person, api.ActionNote{By: "demo approver", Note: "too expensive"}
	}
	return s.person, api.ActionNote{By: "demo approver"}
}

// act does it.
func (p *people) act(ctx context.Context, s *scenario, rec orderstore.Record) error {
	action, say := s.does(rec)
	p.mu.Lock()
	since := time.Since(p.acted[rec.OrderID])
	p.mu.Unlock()
	if action == "" || since < time.Second { // what was decided takes a moment; later it has come back
		return nil
	}
	if action == "retry" {
		if err := p.sims.HealPayments(ctx); err != nil {
			return err
		}
	}
	err := p.api.Call(ctx, http.MethodPost, "/v1/sagas/"+rec.OrderID+"/"+action, say, nil)
	if refused, ok := errors.AsType[*client.Problem](err); ok && refused.Status == http.StatusConflict {
		return nil // the record was read a moment before
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acted[rec.OrderID] = time.Now()
	return err
}
