package orderstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
)

// MarkPaid records the charge; an order that costs nothing needs none. ErrFinished
// if the order is not held any more, or its approval was refused or has expired, or
// it costs something and chargeID is empty.
func (s *Store) MarkPaid(ctx context.Context, orderID, chargeID string) error {
	u := unlessRejected(s.statusUpdate(orderID, order.Paid, s.stamp(), nonEmpty("chargeId", chargeID)))
	if chargeID == "" {
		u = onlyPaid(u)
	}
	return wrap(s.whyNot(ctx, orderID, s.update(ctx, u)), "mark order %s paid", orderID)
}

// onlyPaid adds the condition that the order has a charge, or costs nothing:
// whoever is wrong about that, it neither counts as paid nor ships.
func onlyPaid(u *types.Update) *types.Update {
	*u.ConditionExpression += " AND (attribute_exists(#chargeId) OR #total = :free)"
	u.ExpressionAttributeNames["#chargeId"], u.ExpressionAttributeNames["#total"] = "chargeId", "total"
	u.ExpressionAttributeValues[":free"] = num(0)
	return u
}

// whyNot says so if an order is past a step for want of a charge or an approval.
func (s *Store) whyNot(ctx context.Context, orderID string, err error) error {
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
