package reconcile

import (
	"context"
	"slices"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/stock"
)

// surplus looks at a charge that stands, of an order that is COMPLETED. If it
// is not the one that the order's record has, it goes back, provided that the
// other one stands too: else it is the only money there is.
func (r Reconciler) surplus(ctx context.Context, rep *Report, rec stock.Record, c payment.Entry) error {
	if c.ID == rec.ChargeID {
		return nil
	}
	all, err := r.Payments.Of(ctx, rec.OrderID)
	if err != nil {
		return err
	}
	what := "order is COMPLETED with charge " + rec.ChargeID + ", and charge " + c.ID + " stands too"
	stands := func(e payment.Entry) bool { return e.ID == rec.ChargeID && !e.Refunded }
	switch {
	case !slices.ContainsFunc(all, stands):
		r.found(ctx, rep, rec.OrderID, "order is COMPLETED with charge "+rec.ChargeID+", which does not stand; charge "+c.ID+" does", "flagged", nil)
	case rec.ByHand():
		r.found(ctx, rep, rec.OrderID, what+"; an operator has had a hand in it", "flagged", nil)
	default:
		r.found(ctx, rep, rec.OrderID, what, "surplus refunded", func() error {
			_, err := r.Payments.RefundCharge(ctx, c)
			return err
		})
	}
	return nil
}
