package orderstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Complete moves what the order holds from reserved to sold and completes the order. A
// repetition changes nothing. The error is ErrFinished unless the order is held and paid,
// by its status and its charge both; and also if it is refunded, its approval was rejected
// or has expired, or the carrier has refused it.
func (s *Store) Complete(ctx context.Context, orderID, shipmentID, trackingID string) error {
	res, err := s.GetReservation(ctx, orderID)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("nothing was reserved: %w", ErrFinished)
	}
	if err != nil {
		return fmt.Errorf("complete order %s: %w", orderID, err)
	}
	switch res.State {
	case HoldSold:
		return nil
	case HoldReleased:
		return fmt.Errorf("complete order %s: its reservation was released: %w", orderID, ErrFinished)
	case HoldHeld:
	}
	failed, err := s.complete(ctx, orderID, shipmentID, trackingID, s.holdUpdate(orderID, HoldSold, s.stamp()), res.Items)
	if err == nil && len(failed) > 0 {
		err = s.explainFinished(ctx, orderID, s.confirmState(ctx, orderID, HoldSold))
	}
	return err
}

// CompleteHolding is Complete for a caller that has what the order holds. It saves a
// read: the transaction requires that the order holds exactly that, and if it does not,
// Complete decides.
func (s *Store) CompleteHolding(ctx context.Context, orderID, shipmentID, trackingID string, holds []order.Demand) error {
	held, err := encodeDemand(holds)
	if err != nil {
		return err
	}
	hold := s.holdUpdate(orderID, HoldSold, s.stamp())
	*hold.ConditionExpression += " AND #items = :items"
	hold.ExpressionAttributeNames["#items"], hold.ExpressionAttributeValues[":items"] = "items", str(held)
	failed, err := s.complete(ctx, orderID, shipmentID, trackingID, hold, holds)
	if err != nil || len(failed) == 0 {
		return err
	}
	return s.Complete(ctx, orderID, shipmentID, trackingID)
}

// complete runs the transaction that completes an order. hold is the update of its
// reservation. failed has the items whose conditions did not hold; see transact.
func (s *Store) complete(ctx context.Context, orderID, shipmentID, trackingID string, hold *types.Update, demand []order.Demand,
) (failed []bool, err error) {
	sets := nonEmpty("shipmentId", shipmentID, "trackingId", trackingID)
	complete := unlessRejected(onlyPaid(s.statusUpdate(orderID, order.Completed, s.stamp(), sets)))
	*complete.ConditionExpression += notRefunding + " AND attribute_not_exists(givenUp)"
	unlessRefused(complete)
	items := []types.TransactWriteItem{{Update: hold}, {Update: complete}}
	items = append(items, s.moveStock(demand, "reserved", "sold")...)
	return s.transact(ctx, "complete order "+orderID, items)
}
