package orderstore

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// MarkTerminated records that the saga of an order was terminated, and why, because the
// engine's record of that can be purged. The reconciler then compensates the order or
// parks it, unless ResumeFromAttention or ClearTerminated removes the mark. The error is
// ErrFinished without such an order, or if it has ended.
func (s *Store) MarkTerminated(ctx context.Context, orderID, reason string) error {
	values := map[string]types.AttributeValue{":why": str(reason), ":at": str(s.stamp())}
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET sagaTerminated = :why, updatedAt = :at"),
		ConditionExpression:      aws.String(allows(order.MarkTerminated, values)),
		ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: values,
	})
	return wrap(err, "record that the saga of order %s was terminated", orderID)
}

// ClearTerminated removes the mark of MarkTerminated: the order has another saga, or is
// about to. It does nothing without a mark.
func (s *Store) ClearTerminated(ctx context.Context, orderID string) error {
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression: aws.String("REMOVE sagaTerminated"), ConditionExpression: aws.String("attribute_exists(sagaTerminated)"),
	})
	if errors.Is(err, ErrFinished) {
		return nil // there was no mark
	}
	return wrap(err, "record that order %s has another saga", orderID)
}
