package orderstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
)

// MarkPaid records the charge; an order that costs nothing needs none. The error is
// ErrFinished if the order is no longer held, if its approval was rejected or has
// expired, or if it costs something and chargeID is empty.
func (s *Store) MarkPaid(ctx context.Context, orderID, chargeID string) error {
	u := unlessRejected(s.statusUpdate(orderID, order.Paid, s.stamp(), nonEmpty("chargeId", chargeID)))
	if chargeID == "" {
		u = onlyPaid(u)
	}
	return wrap(s.explainFinished(ctx, orderID, s.update(ctx, u)), "mark order %s paid", orderID)
}

// onlyPaid adds the condition that the order has a charge, or costs nothing. Whatever the
// caller assumes, an order without a charge neither counts as paid nor ships.
func onlyPaid(u *types.Update) *types.Update {
	*u.ConditionExpression += " AND (attribute_exists(#chargeId) OR #total = :free)"
	u.ExpressionAttributeNames["#chargeId"], u.ExpressionAttributeNames["#total"] = "chargeId", "total"
	u.ExpressionAttributeValues[":free"] = num(0)
	return u
}

// explainFinished adds to ErrFinished that an order lacks its approval or its charge, if
// it does.
func (s *Store) explainFinished(ctx context.Context, orderID string, err error) error {
	if !errors.Is(err, ErrFinished) {
		return err
	}
	rec, getErr := s.Get(ctx, orderID)
	switch {
	case getErr != nil || rec.Status.Terminal():
	case rec.Decision == Rejected || rec.Decision == Expired:
		return fmt.Errorf("its approval is %s: %w", rec.Decision, err)
	case rec.Total > 0 && rec.ChargeID == "":
		return fmt.Errorf("it costs %s and has no charge: %w", money.Format(rec.Total, rec.Currency), err)
	}
	return err
}
