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

// compensatingStatuses returns the statuses that an order can have while its saga
// compensates: the order takes its final status when all compensations are done, and
// with nothing reserved there is nothing to compensate.
func compensatingStatuses() []order.Status {
	return slices.DeleteFunc(order.OpenStatuses(), func(s order.Status) bool { return s == order.StatusPending })
}

// isCompensating reports whether a saga compensates, or needs an operator to do so. Only
// its custom status has that.
func isCompensating(s sagaState) bool {
	return saga.IsUndoing(s.step) || saga.IsParked(s.step) && !workflows.PastPointOfNoReturn(saga.ParkedAt(s.step))
}

// runtimeNone is the runtime status in a query for an order that has not ended and
// whose saga the engine does not have.
const runtimeNone = "NONE"

// hasRuntime reports whether a saga has one of the runtime statuses.
func hasRuntime(runtimes []string, s sagaState) bool {
	purged := s.runtime == "" && s.order.Status.Terminal()
	return !purged && slices.Contains(runtimes, cmp.Or(string(s.runtime), runtimeNone))
}

// canHaveRuntime reports whether an order of a status can have a saga with one of the
// runtime statuses. Unless one of them is that of a saga that has ended, orders that have
// ended need not be read.
func canHaveRuntime(runtimes []string, status order.Status) bool {
	ends := func(r string) bool { return engine.RuntimeStatus(r).Ended() }
	return !status.Terminal() || slices.ContainsFunc(runtimes, ends)
}

// filter returns a page of the sagas that q selects, whose orders have one of the
// statuses, and that matches accepts, newest first. What matches asks is only in the
// engine, one saga at a time, so filter reads at most maxReads orders. There may be more
// sagas after next even if it found none.
func (s *server) filter(
	ctx context.Context, q orderstore.Query, maxReads int, statuses []order.Status, matches func(sagaState) bool,
) (found []sagaState, next string, err error) {
	wanted := q.Statuses
	q.Statuses = slices.DeleteFunc(slices.Clone(statuses), func(status order.Status) bool {
		return len(wanted) > 0 && !slices.Contains(wanted, status)
	})
	if len(q.Statuses) == 0 {
		return nil, "", nil
	}
	limit := q.Limit
	q.Limit = min(maxReads, pageSize)
	for reads := 0; reads < maxReads; reads += q.Limit {
		page, err := s.Orders.List(ctx, q)
		if err != nil {
			return nil, "", err
		}
		states, err := s.statesOf(ctx, page.Records)
		if err != nil {
			return nil, "", err
		}
		for _, state := range states {
			if !matches(state) {
				continue
			}
			found = append(found, state)
			if len(found) == limit {
				return found, state.order.Placed, nil
			}
		}
		q.Cursor = page.Next
		if page.Next == "" {
			return found, "", nil
		}
	}
	return found, q.Cursor, nil
}
