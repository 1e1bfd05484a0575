package api

import (
	"context"
	"slices"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// undoable are the statuses of an order that is being undone: it takes the one
// that it ends with when all is.
var undoable = []order.Status{order.StatusReserved, order.StatusAwaitingApproval, order.StatusPaid, order.StatusNeedsAttention}

// isUndoing reports, by its custom status, whether a saga compensates, or needs a
// person for that.
func isUndoing(step string) bool {
	return saga.IsUndoing(step) || saga.IsParked(step) && !workflows.Shipping(saga.ParkedAt(step))
}

// undoing finds sagas that compensate, newest first. Only the engine knows, of
// one at a time, so no more than most orders are looked at; there may be others
// after next even if none is found.
func (s *server) undoing(ctx context.Context, q stock.Query, most int) (found []Saga, next string, err error) {
	found = []Saga{} // not null in JSON
	wanted := q.Statuses
	q.Statuses = slices.DeleteFunc(slices.Clone(undoable), func(st order.Status) bool { return len(wanted) > 0 && !slices.Contains(wanted, st) })
	if len(q.Statuses) == 0 {
		return found, "", nil
	}
	limit := q.Limit
	q.Limit = min(most, 200)
	for looked := 0; looked < most; looked += q.Limit {
		page, err := s.Orders.List(ctx, q)
		if err != nil {
			return nil, "", err
		}
		sagas, err := s.withEngines(ctx, page.Records)
		if err != nil {
			return nil, "", err
		}
		for _, one := range sagas {
			if !isUndoing(one.Step) {
				continue
			}
			if found = append(found, one); len(found) == limit {
				return found, one.Placed, nil
			}
		}
		if q.Cursor = page.Next; page.Next == "" {
			return found, "", nil
		}
	}
	return found, q.Cursor, nil
}
