package orderstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Complete moves what the order holds from reserved to sold and completes the order. A
// repetition changes nothing. The error is ErrFinished unless the order is held and paid,
// by its status and its charge both; and also if it is refunded, its approval was rejected
// or has expired, or the carrier has refused it.
//
// An order whose shipment was requested has held its stock. If its reservation is gone all
// the same, as after a backup of the tables was restored, the order is completed without
// moving stock.
func (s *Store) Complete(ctx context.Context, orderID, shipmentID, trackingID string) error {
	res, err := s.GetReservation(ctx, orderID)
	if errors.Is(err, ErrNotFound) {
		return s.completeUnreserved(ctx, orderID, shipmentID, trackingID)
	}
	if err != nil {
		return fmt.Errorf("complete order %s: %w", orderID, err)
	}
	switch res.State {
	case HoldSold: // with the order, unless its record was lost since
		err := s.update(ctx, s.completion(orderID, shipmentID, trackingID, s.stamp()))
		if errors.Is(err, ErrFinished) {
			err = s.explainFinished(ctx, orderID, s.confirmCompleted(ctx, orderID, err))
		}
		return err
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

// MarkSold completes an order that was accepted again, after the record of its sale was
// lost. It changes nothing else. chargeID may be "". The error is ErrFinished if the order
// has got any further than PENDING.
func (s *Store) MarkSold(ctx context.Context, orderID, chargeID, shipmentID string) error {
	u := s.statusUpdate(orderID, order.SaleFound, s.stamp(), nonEmpty("chargeId", chargeID, "shipmentId", shipmentID))
	return wrap(s.update(ctx, u), "complete order %s, which is sold", orderID)
}

// confirmCompleted returns nil if the order is COMPLETED, and otherwise cause.
func (s *Store) confirmCompleted(ctx context.Context, orderID string, cause error) error {
	rec, err := s.Get(ctx, orderID)
	if err != nil || rec.Status == order.StatusCompleted {
		return err
	}
	return cause
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

// completeUnreserved completes an order whose reservation is gone. Its SOLD one is over
// nothing, and prevents that a late step reserves or releases.
func (s *Store) completeUnreserved(ctx context.Context, orderID, shipmentID, trackingID string) error {
	at := s.stamp()
	sold, err := s.reservation(orderID, HoldSold, nil, at)
	if err != nil {
		return err
	}
	u := s.completion(orderID, shipmentID, trackingID, at)
	*u.ConditionExpression += " AND attribute_exists(shipmentId)"
	failed, err := s.transact(ctx, "complete order "+orderID, []types.TransactWriteItem{
		{Put: &types.Put{TableName: &s.tables.Reservations, Item: sold, ConditionExpression: aws.String("attribute_not_exists(orderId)")}},
		{Update: u},
	})
	if err != nil || len(failed) == 0 {
		return err
	}
	err = s.explainFinished(ctx, orderID, s.confirmState(ctx, orderID, HoldSold))
	return wrap(err, "complete order %s, for which nothing was reserved", orderID)
}

// complete runs the transaction that completes an order. hold is the update of its
// reservation. failed has the items whose conditions did not hold; see transact.
func (s *Store) complete(ctx context.Context, orderID, shipmentID, trackingID string, hold *types.Update, demand []order.Demand,
) (failed []bool, err error) {
	items := []types.TransactWriteItem{{Update: hold}, {Update: s.completion(orderID, shipmentID, trackingID, s.stamp())}}
	items = append(items, s.moveStock(demand, "reserved", "sold")...)
	return s.transact(ctx, "complete order "+orderID, items)
}

// completion returns the update of an order that is completed.
func (s *Store) completion(orderID, shipmentID, trackingID, at string) *types.Update {
	sets := nonEmpty("shipmentId", shipmentID, "trackingId", trackingID)
	u := unlessRejected(onlyPaid(s.statusUpdate(orderID, order.Completed, at, sets)))
	*u.ConditionExpression += notRefunding + " AND attribute_not_exists(givenUp)"
	unlessRefused(u)
	return u
}
