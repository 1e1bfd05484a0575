package orderstore

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

const notRefunding = " AND attribute_not_exists(refunding)"

// MarkRefunding records that the order's money goes back, and returns the order
// as it is then. It and what ships and completes an order exclude each other: an
// old saga may still have a step under way when another one, or the reconciler,
// undoes its order. ErrFinished if the order is COMPLETED.
func (s *Store) MarkRefunding(ctx context.Context, orderID string) (Record, error) {
	values := map[string]types.AttributeValue{":true": &types.AttributeValueMemberBOOL{Value: true}}
	rec, err := s.updated(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET refunding = :true"),
		ConditionExpression:      aws.String(allows(order.RefundStarted, values)),
		ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: values,
	})
	if errors.Is(err, ErrFinished) {
		if _, e := s.Get(ctx, orderID); e != nil {
			err = e
		}
	}
	return rec, wrap(err, "mark order %s to be refunded", orderID)
}

// MarkRefunded records the refund's id, whatever the status.
func (s *Store) MarkRefunded(ctx context.Context, orderID, refundID string) error {
	return s.set(ctx, orderID, "refundId", str(refundID))
}
