package activities_test

import (
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/workflows"
)

// charged books a charge that no step of the order has made, and makes the
// provider forget its key.
func (b *bench) charged(c payment.Charge) {
	b.Helper()
	c.Token = "tok_ok"
	_, err := b.payments.Charge(b.Context(), c)
	b.must(err)
	b.must(b.provider.ExpireKeys())
}

// TestAnotherAmountIsNotTheOrders: what stands in the ledger counts as the
// order's charge only if it is over the order's total.
func TestAnotherAmountIsNotTheOrders(t *testing.T) {
	b := newBench(t)
	b.parts.KeyTTL = time.Nanosecond
	b.registry = task.NewTaskRegistry()
	b.must(b.parts.Register(b.registry))
	b.exec = task.NewTaskExecutor(b.registry)
	for id, c := range map[string]payment.Charge{
		"less":  {OrderID: "less", Amount: 199, Currency: "EUR"},
		"other": {OrderID: "other", Amount: 200, Currency: "USD"},
	} {
		s := b.accept(id, "tok_ok")
		b.do(workflows.ReserveStock, s)
		b.charged(c)
		b.fails(workflows.ChargePayment, s, "and not 2.00 EUR")
		b.is(id, order.StatusReserved)
	}
}

// TestADeclineThatTheLedgerContradicts is no decline: the order would end with
// its money kept.
func TestADeclineThatTheLedgerContradicts(t *testing.T) {
	b := newBench(t)
	s := b.accept("o", "tok_declined")
	b.do(workflows.ReserveStock, s)
	b.charged(payment.Charge{OrderID: "o", Amount: 200, Currency: "EUR"})
	b.fails(workflows.ChargePayment, s, "charge ch_charge-o stands in the provider's ledger, although the response is: charge order o: payment declined")
	b.is("o", order.StatusReserved)
	_, err := b.payments.Refund(t.Context(), payment.Entry{OrderID: "o"})
	b.must(err)
	if out := b.do(workflows.ChargePayment, s); out.Stop.Status != string(order.StatusDeclined) {
		t.Errorf("%+v", out)
	}
	// Whoever refunded it did not come to write that down.
	rec, err := b.Store.Get(t.Context(), "o")
	b.must(err)
	if rec.RefundID != "re_charge-o" {
		t.Errorf("%+v", rec)
	}
}
