package api

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
)

// How many sagas, and how many histories, one request reads from the engine at a time. A
// sidecar takes milliseconds for each.
const (
	engineReads  = 16
	historyReads = 8
)

// sagaState is an order's row with what the engine reports about its saga.
type sagaState struct {
	order   orderstore.Record
	runtime engine.RuntimeStatus // "" if the engine does not have the saga
	step    string               // its custom status; "" once it is completed
}

func newState(rec orderstore.Record, inst engine.Instance) sagaState {
	state := sagaState{order: rec, runtime: inst.Status}
	if inst.Status != engine.Completed { // then it is the saga's outcome
		state.step = inst.CustomStatus
	}
	return state
}

// response maps the state to its document, without the reservation.
func (s sagaState) response() Saga {
	out := toSaga(s.order)
	out.Runtime, out.Step = s.runtime, s.step
	return out
}

func toSagas(states []sagaState) []Saga {
	out := make([]Saga, len(states)) // not null in JSON
	for i, state := range states {
		out[i] = state.response()
	}
	return out
}

func (s *server) stateOf(ctx context.Context, rec orderstore.Record) (sagaState, error) {
	inst, err := s.instance(ctx, rec)
	return newState(rec, inst), err
}

// statesOf reads the sagas of many orders, several at a time.
func (s *server) statesOf(ctx context.Context, records []orderstore.Record) ([]sagaState, error) {
	states := make([]sagaState, len(records))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(engineReads)
	for i, rec := range records {
		g.Go(func() (err error) {
			states[i], err = s.stateOf(gctx, rec)
			return err
		})
	}
	return states, g.Wait()
}

// instance returns the saga of an order. It is zero if the engine has lost it.
func (s *server) instance(ctx context.Context, rec orderstore.Record) (engine.Instance, error) {
	inst, err := s.Sagas.Get(ctx, rec.OrderID)
	return reconcile.InstanceOf(rec, inst, err)
}

// saga reads an order, its saga and its reservation, all three at the same time. Of
// several errors it returns the one of the order, then the one of the engine.
func (s *server) saga(ctx context.Context, id string) (Saga, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		rec                                 orderstore.Record
		inst                                engine.Instance
		reservation                         orderstore.Reservation
		orderErr, engineErr, reservationErr error
		reads                               sync.WaitGroup
	)
	reads.Go(func() {
		rec, orderErr = s.Orders.Get(ctx, id)
		if orderErr != nil {
			cancel() // without the order the other two are not needed
		}
	})
	reads.Go(func() { inst, engineErr = s.Sagas.Get(ctx, id) })
	reads.Go(func() { reservation, reservationErr = s.Orders.GetReservation(ctx, id) })
	reads.Wait()
	if orderErr != nil {
		return Saga{}, orderErr
	}
	inst, engineErr = reconcile.InstanceOf(rec, inst, engineErr)
	if engineErr != nil {
		return Saga{}, engineErr
	}
	if reservationErr != nil && !errors.Is(reservationErr, orderstore.ErrNotFound) {
		return Saga{}, reservationErr
	}
	one := newState(rec, inst).response()
	one.Hold, one.Engine = reservation.State, s.Engine
	return one, nil
}
