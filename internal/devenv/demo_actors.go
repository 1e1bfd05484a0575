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

// demoActors play the demo's approvers, customers and operators. They act through
// the API, as real ones do. Close them after use. They are safe for concurrent use.
type demoActors struct {
	api  client.Client
	sims Simulators

	mu    sync.Mutex
	acted map[string]time.Time // time of the latest action, by order id
}

// newDemoActors returns actors that use the API at base.
func newDemoActors(base string, sims Simulators) *demoActors {
	return &demoActors{
		api: client.Client{Base: base, HTTP: &http.Client{Transport: &http.Transport{}}}, sims: sims,
		acted: map[string]time.Time{},
	}
}

// close closes the actors' idle connections.
func (a *demoActors) close() { a.api.HTTP.CloseIdleConnections() }

// nextAction returns the action of the API that an order of this scenario waits
// for, and its note; "" if it waits for no actor.
func (s *scenario) nextAction(rec orderstore.Record) (action string, note api.ActionNote) {
	switch {
	case rec.Status == order.StatusNeedsAttention:
		return "resolve", api.ActionNote{By: "demo operator", Note: "provider is up again"}
	case rec.Status != order.StatusAwaitingApproval:
		return "", note
	case s.action == "cancel":
		return s.action, api.ActionNote{By: "demo customer", Note: "changed my mind"}
	case s.action == "reject":
		return s.action, api.ActionNote{By: "demo approver", Note: "too expensive"}
	}
	return s.action, api.ActionNote{By: "demo approver"}
}

// act does what an order waits for, if it waits for an actor. It acts on an order
// at most once a second: an action takes a moment to show in the record, and a
// saga that needs attention again after that needs another action.
func (a *demoActors) act(ctx context.Context, s *scenario, rec orderstore.Record) error {
	action, note := s.nextAction(rec)
	a.mu.Lock()
	since := time.Since(a.acted[rec.OrderID])
	a.mu.Unlock()
	if action == "" || since < time.Second {
		return nil
	}
	if action == "resolve" {
		if err := a.sims.HealPayments(ctx); err != nil {
			return err
		}
	}
	err := a.api.Call(ctx, http.MethodPost, "/v1/sagas/"+rec.OrderID+"/"+action, note, nil)
	if refused, ok := errors.AsType[*client.Problem](err); ok && refused.Status == http.StatusConflict {
		return nil // the order has changed since its record was read
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acted[rec.OrderID] = time.Now()
	return err
}
