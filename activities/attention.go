package activities

import (
	"context"
	"errors"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
)

// ParkSaga marks an order whose saga needs an operator. A notification of the
// customer that fails does not prevent that.
func (a Activities) ParkSaga(ctx context.Context, s workflows.State, step, cause string) error {
	zerolog.Ctx(ctx).Error().Str("step", step).Str("cause", cause).Msg("a saga needs attention")
	err := a.Store.MarkNeedsAttention(ctx, s.Order.OrderID, step+": "+cause)
	if errors.Is(err, orderstore.ErrFinished) {
		_, err = a.Store.Get(ctx, s.Order.OrderID)
	}
	if err != nil && (!errors.Is(err, orderstore.ErrNotFound) || s.Accepted > 0) {
		return err
	}
	if err := a.notifyUnread(ctx, s.Order, events.NotifyDelayed, ""); err != nil {
		return a.noteNotNotified(ctx, s, events.NotifyDelayed, err)
	}
	return nil
}
