package api

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
)

// stuck pages through the orders that need attention, and those that have not
// changed for longer than what their saga is at may take, newest first.
func (s *server) stuck(ctx context.Context, q stock.Query, now time.Time) (sagas []Saga, next string, err error) {
	sagas = []Saga{} // not null in JSON
	live := slices.DeleteFunc(order.Statuses(), order.Status.Terminal)
	wanted := func(st order.Status) bool { return len(q.Statuses) == 0 || slices.Contains(q.Statuses, st) }
	for _, st := range live {
		if !wanted(st) {
			continue
		}
		part := q
		part.Statuses = []order.Status{st}
		// What was accepted later cannot have been still for so long.
		if due := now.Add(-s.Terms.Due(st, "")); part.Before.IsZero() || due.Before(part.Before) {
			part.Before = due
		}
		found, err := s.stuckIn(ctx, part, now)
		if err != nil {
			return nil, "", err
		}
		sagas = append(sagas, found...)
	}
	slices.SortFunc(sagas, func(a, b Saga) int { return cmp.Compare(b.Placed, a.Placed) })
	if len(sagas) >= q.Limit {
		sagas = sagas[:q.Limit]
		next = sagas[len(sagas)-1].Placed
	}
	return sagas, next, nil
}

// stuckIn finds up to q.Limit of them in one status.
func (s *server) stuckIn(ctx context.Context, q stock.Query, now time.Time) (found []Saga, err error) {
	page := q
	page.Limit = 200
	for len(found) < q.Limit {
		p, err := s.Orders.List(ctx, page)
		if err != nil {
			return nil, err
		}
		for _, rec := range p.Records {
			still := now.Sub(rec.UpdatedAt)
			if still < s.Terms.Due(rec.Status, "") {
				continue
			}
			saga, err := s.withEngine(ctx, rec)
			if err != nil {
				return nil, err
			}
			if still >= s.Terms.Due(rec.Status, saga.Step) {
				found = append(found, saga)
			}
		}
		if page.Cursor = p.Next; p.Next == "" {
			break
		}
	}
	return found[:min(len(found), q.Limit)], nil
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
	stuckDesc  = prometheus.NewDesc("ordersaga_sagas_stuck", "Sagas without progress for longer than what they are at may take, and those that need attention, by step; up to 1,000. -1 if they cannot be counted.", []string{"status", "step"}, nil)
	stuckLimit = 1000
)

func (stuckMetric) Describe(ch chan<- *prometheus.Desc) { ch <- stuckDesc }

func (m stuckMetric) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	send := func(n float64, status, step string) {
		ch <- prometheus.MustNewConstMetric(stuckDesc, prometheus.GaugeValue, n, status, step)
	}
	sagas, _, err := m.server.stuck(ctx, stock.Query{Limit: stuckLimit}, time.Now())
	if err != nil {
		send(-1, "", "")
		return
	}
	type place struct{ status, step string }
	counts := map[place]int{}
	for _, saga := range sagas {
		counts[place{string(saga.Status), saga.Step}]++
	}
	for p, n := range counts {
		send(float64(n), p.status, p.step)
	}
}
