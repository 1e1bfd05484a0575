package orderstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Release releases what the order holds, if anything, and ends the order as final.
// Without a reservation it writes a RELEASED one, so that a late Reserve holds nothing.
// An order that has ended otherwise keeps its status, and what it still held is released.
// The error is ErrFinished for an order that is COMPLETED.
func (s *Store) Release(ctx context.Context, orderID string, final order.Status, reason string) error {
	res, err := s.GetReservation(ctx, orderID)
	missing := errors.Is(err, ErrNotFound)
	if err != nil && !missing {
		return fmt.Errorf("release stock of order %s: %w", orderID, err)
	}
	if res.State == HoldSold {
		return fmt.Errorf("release stock of order %s: it is sold: %w", orderID, ErrFinished)
	}
	ended, ok := order.EndedAs(final)
	if !ok {
		return fmt.Errorf("release stock of order %s: no order ends %q without its stock: %w", orderID, final, ErrFinished)
	}
	at := s.stamp()
	end := s.statusUpdate(orderID, ended, at, nonEmpty("reason", reason))
	if res.State == HoldReleased {
		err := s.update(ctx, end)
		if errors.Is(err, ErrFinished) {
			return nil
		}
		return err
	}
	var items []types.TransactWriteItem
	if missing {
		tombstone, err := s.reservation(orderID, HoldReleased, nil, at)
		if err != nil {
			return err
		}
		items = append(items, types.TransactWriteItem{Put: &types.Put{
			TableName: &s.tables.Reservations, Item: tombstone,
			ConditionExpression: aws.String("attribute_not_exists(orderId)"),
		}})
	} else {
		items = append(items, types.TransactWriteItem{Update: s.holdUpdate(orderID, HoldReleased, at)})
	}
	items = append(items, types.TransactWriteItem{Update: end})
	items = append(items, s.moveStock(res.Items, "reserved", "available")...)
	what := "release stock of order " + orderID
	failed, err := s.transact(ctx, what, items)
	if err == nil && len(failed) > 0 && !failed[0] && failed[1] {
		// It has ended without this release, as one that is REJECTED has, or
		// with stock in hand: a leak. What it holds goes back.
		items[1] = types.TransactWriteItem{ConditionCheck: s.endedUncompleted(orderID)}
		failed, err = s.transact(ctx, what, items)
	}
	if err == nil && len(failed) > 0 {
		err = s.confirmState(ctx, orderID, HoldReleased)
	}
	return err
}

// endedUncompleted returns the condition that the order has ended and is not COMPLETED.
func (s *Store) endedUncompleted(orderID string) *types.ConditionCheck {
	values := map[string]types.AttributeValue{}
	return &types.ConditionCheck{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		ConditionExpression:      aws.String(statusIn(order.CompensatedStatuses(), values)),
		ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: values,
	}
}
