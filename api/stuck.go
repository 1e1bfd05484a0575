package api

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
)

// pageSize is how many orders the filters read at a time.
const pageSize = 200

// stuck returns a page of the orders that need attention, of those that have made no
// progress for longer than their step may take, and of those whose saga is stalled,
// newest first.
func (s *server) stuck(ctx context.Context, q orderstore.Query, now time.Time) (sagas []sagaState, next string, err error) {
	for _, status := range order.OpenStatuses() {
		if len(q.Statuses) > 0 && !slices.Contains(q.Statuses, status) {
			continue
		}
		steps := []string{""}
		if status == order.StatusPaid {
			steps = append(steps, workflows.StepCarrier)
		}
		for _, step := range steps {
			found, err := s.stuckIn(ctx, narrow(q, status, step, now.Add(-s.Terms.Deadline(status, step))), now)
			if err != nil {
				return nil, "", err
			}
			sagas = append(sagas, found...)
		}
	}
	found, err := s.stalled(ctx, q)
	if err != nil {
		return nil, "", err
	}
	sagas = append(sagas, found...)
	slices.SortFunc(sagas, func(a, b sagaState) int { return cmp.Compare(b.order.Placed, a.order.Placed) })
	// An order can be found twice: also as stalled, or without and with StepCarrier.
	sagas = slices.CompactFunc(sagas, func(a, b sagaState) bool { return a.order.Placed == b.order.Placed })
	if len(sagas) >= q.Limit {
		sagas = sagas[:q.Limit]
		next = sagas[len(sagas)-1].order.Placed
	}
	return sagas, next, nil
}

// narrow returns q for one status and step, and for orders accepted before a time: an
// order accepted later cannot be overdue yet.
func narrow(q orderstore.Query, status order.Status, step string, before time.Time) orderstore.Query {
	q.Statuses = []order.Status{status}
	// Thousands of orders may rightly await the carrier, so of those only the overdue
	// ones are read. One that fails after the carrier's answer comes to need attention.
	q.ExcludeShipping = status == order.StatusPaid && step == ""
	if q.Before.IsZero() || before.Before(q.Before) {
		q.Before = before
	}
	return q
}

// stuckIn returns up to q.Limit of the stuck orders that q selects.
func (s *server) stuckIn(ctx context.Context, q orderstore.Query, now time.Time) (found []sagaState, err error) {
	idle := func(rec orderstore.Record) time.Duration { return now.Sub(rec.UpdatedAt) }
	page := q
	page.Limit = pageSize
	for len(found) < q.Limit {
		p, err := s.Orders.List(ctx, page)
		if err != nil {
			return nil, err
		}
		overdue := slices.DeleteFunc(p.Records, func(rec orderstore.Record) bool { return idle(rec) < s.Terms.Deadline(rec.Status, "") })
		states, err := s.statesOf(ctx, overdue)
		if err != nil {
			return nil, err
		}
		for _, state := range states {
			if state.runtime == engine.Stalled || idle(state.order) >= s.Terms.Deadline(state.order.Status, state.step) {
				found = append(found, state)
			}
		}
		page.Cursor = p.Next
		if p.Next == "" {
			break
		}
	}
	return found[:min(len(found), q.Limit)], nil
}

// stalled returns the sagas that the reconciler has found stalled and that still are,
// whatever their orders wait for. It reads no other of the thousands that may wait.
func (s *server) stalled(ctx context.Context, q orderstore.Query) ([]sagaState, error) {
	if s.Stalled == nil {
		return nil, nil
	}
	ids := s.Stalled()
	states := make([]sagaState, len(ids))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(engineReads)
	for i, id := range ids {
		g.Go(func() error {
			rec, err := s.Orders.Get(gctx, id)
			if err == nil && !rec.Status.Terminal() && q.Selects(rec) {
				states[i], err = s.stateOf(gctx, rec)
			}
			if errors.Is(err, orderstore.ErrNotFound) {
				return nil
			}
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(states, func(state sagaState) bool { return state.runtime != engine.Stalled }), err
}

// addLastErrors adds to each saga the last error in its history.
func (s *server) addLastErrors(ctx context.Context, sagas []Saga) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(historyReads)
	for i := range sagas {
		g.Go(func() error {
			events, err := s.Sagas.History(gctx, sagas[i].OrderID)
			if err != nil && !errors.Is(err, engine.ErrNotFound) {
				return err
			}
			for _, e := range slices.Backward(events) {
				if e.Error != "" {
					sagas[i].LastError = e.Error
					break
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// stuckMetric counts the stuck sagas when it is collected.
type stuckMetric struct{ server *server }

var (
	stuckDesc = prometheus.NewDesc("ordersaga_sagas_stuck",
		"Sagas that need attention or have made no progress within the time limit of their step, by step; up to 1,000. "+
			"-1 if they cannot be counted.", []string{"status", "step"}, nil)
	stalledDesc = prometheus.NewDesc("ordersaga_sagas_stalled",
		"Stuck sagas that are stalled: the engine does not run them until the cause is removed. -1 if they cannot be counted.", nil, nil)
	stuckLimit = 1000
)

// stepLabel returns a saga's custom status as a label. That of a saga that panicked has
// the reason in it, and another client of the engine can set any text.
func stepLabel(customStatus string) string {
	step := customStatus
	for _, prefix := range []string{"needs attention: ", "undo ", "settle "} {
		step = strings.TrimPrefix(step, prefix)
	}
	switch step {
	case "", "reserve", workflows.StepApprove, workflows.StepCharge, workflows.StepShip, workflows.StepCarrier, workflows.StepConfirm:
		return customStatus
	}
	return otherLabel
}

// Describe implements prometheus.Collector.
func (stuckMetric) Describe(ch chan<- *prometheus.Desc) {
	ch <- stuckDesc
	ch <- stalledDesc
}

// Collect implements prometheus.Collector.
func (m stuckMetric) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), gaugeTimeout)
	defer cancel()
	send := func(n float64, status, step string) {
		ch <- prometheus.MustNewConstMetric(stuckDesc, prometheus.GaugeValue, n, status, step)
	}
	sagas, _, err := m.server.stuck(ctx, orderstore.Query{Limit: stuckLimit}, time.Now())
	if err != nil {
		send(-1, "", "")
		ch <- prometheus.MustNewConstMetric(stalledDesc, prometheus.GaugeValue, -1)
		return
	}
	type place struct{ status, step string }
	counts, stalled := map[place]int{}, 0
	for _, state := range sagas {
		if state.runtime == engine.Stalled {
			stalled++
		}
		counts[place{status: string(state.order.Status), step: stepLabel(state.step)}]++
	}
	ch <- prometheus.MustNewConstMetric(stalledDesc, prometheus.GaugeValue, float64(stalled))
	for p, n := range counts {
		send(float64(n), p.status, p.step)
	}
}
