package orderstore

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// notRefunding is the condition that the order is not being refunded.
const notRefunding = " AND attribute_not_exists(refunding)"

// MarkRefunding records that the order's money is refunded, and returns the order as it
// is afterwards. It excludes what ships and completes an order: an old saga may still
// have a step in flight while another saga, or the reconciler, compensates. The error is
// ErrFinished if the order is COMPLETED.
func (s *Store) MarkRefunding(ctx context.Context, orderID string) (Record, error) {
	values := map[string]types.AttributeValue{":true": &types.AttributeValueMemberBOOL{Value: true}}
	// A status that this release does not have, of a newer one for example, is refunded.
	excluded := slices.DeleteFunc(order.Statuses(), func(st order.Status) bool { return st.Allows(order.RefundStarted) })
	rec, err := s.updated(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET refunding = :true"),
		ConditionExpression:      aws.String("attribute_exists(orderId) AND NOT " + statusIn(excluded, values)),
		ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: values,
	})
	if errors.Is(err, ErrFinished) {
		if _, e := s.Get(ctx, orderID); e != nil {
			err = e
		}
	}
	return rec, wrap(err, "mark order %s to be refunded", orderID)
}

// MarkRefunded records the id of the refund, whatever the status. The error is
// ErrNotFound without such an order.
func (s *Store) MarkRefunded(ctx context.Context, orderID, refundID string) error {
	return s.set(ctx, orderID, "refundId", str(refundID))
}
