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

// stuck pages through the orders that need attention, those that have not
// changed for longer than what their saga is at may take, and those whose saga is
// stalled, newest first.
func (s *server) stuck(ctx context.Context, q orderstore.Query, now time.Time) (sagas []Saga, next string, err error) {
	sagas = []Saga{} // not null in JSON
	wanted := func(st order.Status) bool { return len(q.Statuses) == 0 || slices.Contains(q.Statuses, st) }
	for _, st := range order.OpenStatuses() {
		if !wanted(st) {
			continue
		}
		part := q
		part.Statuses = []order.Status{st}
		steps := []string{""}
		if st == order.StatusPaid {
			steps = append(steps, workflows.StepCarrier)
		}
		for _, step := range steps {
			// Thousands may be with the carrier, as they should be: of these only
			// those are read that have been for too long. What fails there after
			// its answer comes to need attention.
			part.Here = st == order.StatusPaid && step == ""
			// What was accepted later cannot have been still for so long.
			part.Before = now.Add(-s.Terms.Due(st, step))
			if !q.Before.IsZero() && q.Before.Before(part.Before) {
				part.Before = q.Before
			}
			found, err := s.stuckIn(ctx, part, now)
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
	slices.SortFunc(sagas, func(a, b Saga) int { return cmp.Compare(b.Placed, a.Placed) })
	sagas = slices.CompactFunc(sagas, func(a, b Saga) bool { return a.Placed == b.Placed }) // late, and not with the carrier; or stalled
	if len(sagas) >= q.Limit {
		sagas = sagas[:q.Limit]
		next = sagas[len(sagas)-1].Placed
	}
	return sagas, next, nil
}

// stuckIn finds up to q.Limit of them in one status.
func (s *server) stuckIn(ctx context.Context, q orderstore.Query, now time.Time) (found []Saga, err error) {
	page := q
	page.Limit = 200
	for len(found) < q.Limit {
		p, err := s.Orders.List(ctx, page)
		if err != nil {
			return nil, err
		}
		still := slices.DeleteFunc(p.Records, func(rec orderstore.Record) bool { return now.Sub(rec.UpdatedAt) < s.Terms.Due(rec.Status, "") })
		sagas, err := s.withEngines(ctx, still)
		if err != nil {
			return nil, err
		}
		for i, saga := range sagas {
			if saga.Runtime == engine.Stalled || now.Sub(still[i].UpdatedAt) >= s.Terms.Due(still[i].Status, saga.Step) {
				found = append(found, saga)
			}
		}
		if page.Cursor = p.Next; p.Next == "" {
			break
		}
	}
	return found[:min(len(found), q.Limit)], nil
}

// stalled are those that the reconciler has found stalled and that still are,
// also while their orders wait as they may: of the thousands that do only these
// are read.
func (s *server) stalled(ctx context.Context, q orderstore.Query) ([]Saga, error) {
	if s.Stalled == nil {
		return nil, nil
	}
	ids := s.Stalled()
	sagas := make([]Saga, len(ids))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, id := range ids {
		g.Go(func() error {
			rec, err := s.Orders.Get(gctx, id)
			if err == nil && !rec.Status.Terminal() && q.Selects(rec) {
				sagas[i], err = s.withEngine(gctx, rec)
			}
			if errors.Is(err, orderstore.ErrNotFound) {
				return nil
			}
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(sagas, func(one Saga) bool { return one.Runtime != engine.Stalled }), err
}

// withEngines adds the engine's view to many; a sidecar takes milliseconds for
// each.
func (s *server) withEngines(ctx context.Context, records []orderstore.Record) ([]Saga, error) {
	sagas := make([]Saga, len(records))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, rec := range records {
		g.Go(func() (err error) {
			sagas[i], err = s.withEngine(gctx, rec)
			return err
		})
	}
	return sagas, g.Wait()
}

// blame adds to each saga the last error of its steps.
func (s *server) blame(ctx context.Context, sagas []Saga) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
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

// stuckMetric counts them when it is asked for.
type stuckMetric struct{ server *server }

var (
	stuckDesc   = prometheus.NewDesc("ordersaga_sagas_stuck", "Sagas without progress for longer than what they are at may take, and those that need attention, by step; up to 1,000. -1 if they cannot be counted.", []string{"status", "step"}, nil)
	stalledDesc = prometheus.NewDesc("ordersaga_sagas_stalled", "Of the stuck sagas, those that Dapr has stalled: it runs them no more until the cause is gone. -1 if they cannot be counted.", nil, nil)
	stuckLimit  = 1000
)

// stepLabel is a saga's custom status as a label. One that has panicked says why
// in it, and whoever speaks to the engine may have written anything.
func stepLabel(customStatus string) string {
	step := customStatus
	for _, prefix := range []string{"needs attention: ", "undo ", "settle "} {
		step = strings.TrimPrefix(step, prefix)
	}
	switch step {
	case "", "reserve", workflows.StepApprove, workflows.StepCharge, workflows.StepShip, workflows.StepCarrier, workflows.StepConfirm:
		return customStatus
	}
	return otherwise
}

func (stuckMetric) Describe(ch chan<- *prometheus.Desc) { ch <- stuckDesc; ch <- stalledDesc }

func (m stuckMetric) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
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
	for _, saga := range sagas {
		if saga.Runtime == engine.Stalled {
			stalled++
		}
		counts[place{string(saga.Status), stepLabel(saga.Step)}]++
	}
	ch <- prometheus.MustNewConstMetric(stalledDesc, prometheus.GaugeValue, float64(stalled))
	for p, n := range counts {
		send(float64(n), p.status, p.step)
	}
}
