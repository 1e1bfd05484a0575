package reconcile

import (
	"context"
	"slices"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// surplus looks at a charge that stands, of an order that is COMPLETED. If it
// is not the one that the order's record has, it goes back, provided that the
// other one stands too: else it is the only money there is. It reports what
// charge does.
func (r Reconciler) surplus(ctx context.Context, rep *Report, paid claims, rec orderstore.Record, c payment.Entry) (ended bool, err error) {
	if c.ID == rec.ChargeID {
		return true, nil
	}
	all, err := r.Payments.ChargesOf(ctx, rec.OrderID)
	switch {
	case payment.IsInvalidResponse(err):
		paid.doubted[rec.OrderID] = true
		r.found(ctx, rep, rec.OrderID, "order is COMPLETED, and what the ledger says of it does not count: "+err.Error(), "flagged", nil)
		return true, nil
	case err != nil:
		return false, err
	}
	what := "order is COMPLETED with charge " + rec.ChargeID + ", and charge " + c.ID + " stands too"
	stands := func(e payment.Entry) bool { return e.ID == rec.ChargeID && !e.Refunded }
	switch {
	case !slices.ContainsFunc(all, stands):
		r.found(ctx, rep, rec.OrderID, "order is COMPLETED with charge "+rec.ChargeID+", which does not stand; charge "+c.ID+" does", "flagged", nil)
		return true, nil
	case rec.ManuallyResolved():
		r.found(ctx, rep, rec.OrderID, what+"; an operator has had a hand in it", "flagged", nil)
		return true, nil
	case gaveBack(rec, what):
		paid.doubted[rec.OrderID] = true
		r.found(ctx, rep, rec.OrderID, what+contradicts, "flagged", nil)
		return true, nil
	default:
		r.found(ctx, rep, rec.OrderID, what, "surplus refunded", func() error {
			_, err := r.Payments.RefundCharge(ctx, c)
			return err
		})
	}
	return false, nil
}
