package api

import (
	"cmp"
	"context"
	"slices"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// undoable are the statuses of an order that is being undone: it takes the one
// that it ends with when all is.
var undoable = []order.Status{order.StatusReserved, order.StatusAwaitingApproval, order.StatusPaid, order.StatusNeedsAttention}

// isUndoing reports, by its custom status, whether a saga compensates, or needs a
// person for that.
func isUndoing(one Saga) bool {
	return saga.IsUndoing(one.Step) || saga.IsParked(one.Step) && !workflows.Shipping(saga.ParkedAt(one.Step))
}

// runtimeNone is said instead of a runtime status of an order that has not ended
// and whose saga the engine does not know.
const runtimeNone = "NONE"

// isOf reports whether a saga has one of these runtime statuses.
func isOf(runtimes []string, one Saga) bool {
	purged := one.Runtime == "" && one.Status.Terminal()
	return !purged && slices.Contains(runtimes, cmp.Or(string(one.Runtime), runtimeNone))
}

// mayBe reports whether an order of a status can have a saga with one of these
// runtime statuses: as long as none of them is that of a saga that has ended,
// orders that have ended need not be looked at.
func mayBe(runtimes []string, st order.Status) bool {
	return !st.Terminal() || slices.ContainsFunc(runtimes, func(r string) bool { return engine.RuntimeStatus(r).Ended() })
}

// look finds sagas that are such, newest first, among those that q selects and
// whose orders have one of the statuses. Only the engine knows, of one at a time,
// so no more than most orders are looked at; there may be others after next even
// if none is found.
func (s *server) look(ctx context.Context, q orderstore.Query, most int, statuses []order.Status, such func(Saga) bool) (found []Saga, next string, err error) {
	found = []Saga{} // not null in JSON
	wanted := q.Statuses
	q.Statuses = slices.DeleteFunc(slices.Clone(statuses), func(st order.Status) bool { return len(wanted) > 0 && !slices.Contains(wanted, st) })
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
			if !such(one) {
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
