package orderstore

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// statusUpdate returns the update that records an event which sets the status, as
// order.Transitions has it: on condition that the order is in one of the statuses in
// which the event can happen.
func (s *Store) statusUpdate(orderID string, e order.Event, at string, set map[string]types.AttributeValue) *types.Update {
	return s.setStatus(orderID, order.To(e), at, set, order.From(e))
}

// setStatus returns the update that sets the status and the attributes in set, on
// condition that the order is in one of from. A terminal status removes the payment token
// from the record. The order then counts as work, unless set has IdleUntil.
func (s *Store) setStatus(
	orderID string, to order.Status, at string, set map[string]types.AttributeValue, from []order.Status,
) *types.Update {
	values := map[string]types.AttributeValue{
		":status": str(string(to)), ":shard": str(statusShard(to, orderID)), ":time": str(timeShard(orderID)), ":at": str(at),
	}
	names := map[string]string{"#status": "status"}
	var expr strings.Builder
	expr.WriteString("SET #status = :status, statusShard = :shard, timeShard = :time, updatedAt = :at")
	for _, k := range sortedKeys(set) {
		names["#"+k], values[":"+k] = k, set[k]
		expr.WriteString(", #" + k + " = :" + k)
	}
	gone := []string{"resolution"} // it was about the status before
	if _, given := set[IdleUntil]; !given {
		gone = append(gone, IdleUntil)
	}
	if to.Terminal() {
		gone = append(gone, "token")
		if _, given := set["reason"]; to == order.StatusCompleted && !given { // why it was parked, for example, is in the notes
			gone = append(gone, "reason")
		}
	}
	for i, k := range gone {
		names["#"+k] = k
		if i == 0 {
			expr.WriteString(" REMOVE #" + k)
		} else {
			expr.WriteString(", #" + k)
		}
	}
	return &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String(expr.String()),
		ConditionExpression:      aws.String(statusIn(from, values)),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
	}
}

// allows returns the condition that e can happen in the order's #status. It adds the
// statuses to values.
func allows(e order.Event, values map[string]types.AttributeValue) string {
	return statusIn(order.From(e), values)
}

// statusIn returns the condition that the order's #status is one of statuses. It adds them
// to values.
func statusIn(statuses []order.Status, values map[string]types.AttributeValue) string {
	in := make([]string, len(statuses))
	for i, st := range statuses {
		in[i] = ":from" + strconv.Itoa(i)
		values[in[i]] = str(string(st))
	}
	return "#status IN (" + strings.Join(in, ", ") + ")"
}

// End sets the final status of an open order as an edit by hand would: it does not follow
// order.Transitions, and releases nothing. It is for tests of what such edits lead to. It
// does nothing if the order has ended.
func (s *Store) End(ctx context.Context, orderID string, final order.Status, reason string) error {
	err := s.update(ctx, s.setStatus(orderID, final, s.stamp(), nonEmpty("reason", reason), order.OpenStatuses()))
	if errors.Is(err, ErrFinished) {
		return nil
	}
	return wrap(err, "end order %s", orderID)
}
