package orderstore

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// MarkTerminated records that the saga of an order was terminated, and why: the
// engine's record of that can be purged. The reconciler then undoes the order or
// parks it, unless ResumeFromAttention or ClearTerminated takes the mark back. ErrFinished if there
// is no such order or it has ended.
func (s *Store) MarkTerminated(ctx context.Context, orderID, reason string) error {
	values := map[string]types.AttributeValue{":why": str(reason), ":at": str(s.stamp())}
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET sagaTerminated = :why, updatedAt = :at"),
		ConditionExpression:      aws.String(allows(order.MarkTerminated, values)),
		ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: values,
	})
	return wrap(err, "note that the saga of order %s was terminated", orderID)
}

// ClearTerminated takes back MarkTerminated: the order has another saga, or is about to.
func (s *Store) ClearTerminated(ctx context.Context, orderID string) error {
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression: aws.String("REMOVE sagaTerminated"), ConditionExpression: aws.String("attribute_exists(sagaTerminated)"),
	})
	if errors.Is(err, ErrFinished) {
		return nil // nobody had
	}
	return wrap(err, "note that order %s has another saga", orderID)
}
