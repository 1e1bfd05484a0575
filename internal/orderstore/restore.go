package orderstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Lost is what its saga has of an order whose record is gone. Order is required.
type Lost struct {
	Order      order.Order // as in the saga's input: without customer, address and token
	AcceptedAt time.Time   // zero means now
	ChargeID   string      // "": unknown
	ShipmentID string      // "": its shipment was not requested
	Trace      string      // as in Record
	Reason     string      // for the operator
}

// Restore records an order whose record is gone, and returns its status: COMPLETED if its
// stock is sold, and otherwise NEEDS_ATTENTION, for an operator. The record counts as one
// whose customer was erased, for the customer is unknown. The status is "", and nothing
// changes, if the order has a record, unless that was written since, by accepting the order
// again: the order has not ended and lacks the shipment.
func (s *Store) Restore(ctx context.Context, l Lost) (order.Status, error) {
	o := l.Order.ForHistory()
	content, err := encodeContent(o)
	if err != nil {
		return "", err
	}
	// Without a record nothing sells, and nothing takes a sale back.
	res, err := s.GetReservation(ctx, o.OrderID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	status, idleUntil := order.To(order.AttentionNeeded), noTimeLimit
	if res.State == HoldSold {
		status, idleUntil = order.To(order.Completed), ""
	}
	now := s.stamp()
	placed := now
	if !l.AcceptedAt.IsZero() {
		placed = l.AcceptedAt.UTC().Format(TimeFormat)
	}
	put, err := attributevalue.MarshalMap(Record{
		OrderID: o.OrderID, Status: status, Reason: l.Reason, Currency: o.Currency, Total: o.Total(),
		ChargeID: l.ChargeID, ShipmentID: l.ShipmentID, Trace: l.Trace, IdleUntil: idleUntil, Restored: true, Forgotten: true,
		Content: content, Created: placed, Updated: now, Placed: placed + "#" + o.OrderID,
		StatusShard: statusShard(status, o.OrderID), TimeShard: timeShard(o.OrderID),
	})
	if err != nil {
		return "", fmt.Errorf("encode order %s: %w", o.OrderID, err)
	}
	delete(put, "customerId") // without a customer it is not in their index
	delete(put, "fingerprint")
	_, err = s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.tables.Orders, Item: put, ConditionExpression: aws.String("attribute_not_exists(orderId)"),
	})
	if _, taken := errors.AsType[*types.ConditionalCheckFailedException](err); taken {
		if l.ShipmentID == "" {
			return "", nil
		}
		return s.complement(ctx, l, status)
	}
	if err != nil {
		return "", fmt.Errorf("restore the record of order %s: %w", o.OrderID, err)
	}
	return status, nil
}

// complement adds to the record of an open order without a shipment what its saga has, and
// gives it the status.
func (s *Store) complement(ctx context.Context, l Lost, status order.Status) (order.Status, error) {
	if status == order.StatusCompleted {
		err := s.MarkSold(ctx, l.Order.OrderID, l.ChargeID, l.ShipmentID)
		return restoredAs(status, err)
	}
	sets := nonEmpty("reason", l.Reason, IdleUntil, noTimeLimit, "chargeId", l.ChargeID, "shipmentId", l.ShipmentID)
	sets["restored"] = &types.AttributeValueMemberBOOL{Value: true}
	u := s.statusUpdate(l.Order.OrderID, order.AttentionNeeded, s.stamp(), sets)
	*u.ConditionExpression += notRefunding + " AND attribute_not_exists(#shipmentId) AND attribute_not_exists(givenUp)"
	return restoredAs(status, wrap(s.update(ctx, u), "restore the record of order %s", l.Order.OrderID))
}

// restoredAs returns what Restore returns after an update of an existing record.
func restoredAs(status order.Status, err error) (order.Status, error) {
	if errors.Is(err, ErrFinished) { // the record has what it needs, or the order has ended
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return status, nil
}

// AwaitsDecision reports whether the order's record was restored and no operator has
// decided what becomes of it. Until then its saga must not go on: the record lacks what the
// next steps need, and does not show what was done.
func (r Record) AwaitsDecision() bool {
	return r.Restored && r.Status == order.StatusNeedsAttention && r.Resolution == ""
}

// unlessUndecided adds the condition that not AwaitsDecision.
func unlessUndecided(u *types.Update) {
	*u.ConditionExpression += " AND (attribute_not_exists(restored) OR #status <> :parked OR attribute_exists(resolution))"
	u.ExpressionAttributeValues[":parked"] = str(string(order.StatusNeedsAttention))
}
