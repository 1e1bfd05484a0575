package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// liar is a provider with a false ledger.
type liar struct {
	reconcile.Payments

	mu      sync.Mutex
	entries func([]payment.Entry) []payment.Entry // the entries returned instead; nil returns the true ones
	list    error                                 // of the ledger of all orders
	of      map[string]error                      // of those of some
	refunds int                                   // that it was asked for
}

func (l *liar) say(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *liar) says(list []payment.Entry) []payment.Entry {
	if l.entries == nil {
		return list
	}
	return l.entries(slices.Clone(list))
}

func (l *liar) ChargesSince(ctx context.Context, since time.Time) iter.Seq2[[]payment.Entry, error] {
	return func(yield func([]payment.Entry, error) bool) {
		for page, err := range l.Payments.ChargesSince(ctx, time.Time{}) {
			l.say(func() { page = l.says(page) })
			page = slices.DeleteFunc(page, func(e payment.Entry) bool { return e.CreatedAt.Before(since) && e.Invalid == nil })
			if !yield(page, errors.Join(err, l.list)) {
				return
			}
		}
	}
}

func (l *liar) ChargesOf(ctx context.Context, id string) ([]payment.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, err := l.Payments.ChargesOf(ctx, id)
	return l.says(list), errors.Join(err, l.of[id])
}

func (l *liar) Refund(ctx context.Context, made payment.Entry) (string, error) {
	l.say(func() { l.refunds++ })
	return l.Payments.Refund(ctx, made)
}

func (l *liar) RefundCharge(ctx context.Context, e payment.Entry) (string, error) {
	l.say(func() { l.refunds++ })
	return l.Payments.RefundCharge(ctx, e)
}

// lied has a system with such a provider, and a reconciler that remembers.
func lied(t *testing.T) (leaky, *liar) {
	t.Helper()
	l := newLeaky(t, nil)
	p := &liar{Payments: l.Payments, of: map[string]error{}}
	l.Payments, l.Unpaid = p, &reconcile.Unpaid{}
	return l, p
}

func (l leaky) counts(want int) {
	l.Helper()
	if n := l.Unpaid.Count(); n != want {
		l.Errorf("orders counted as unpaid = %d, want %d", n, want)
	}
}

// odd is the error of a client whose provider answers what does not count.
func odd(t *testing.T) error {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	defer s.Close()
	c := payment.New(payment.Options{URL: s.URL})
	defer c.Close()
	_, err := c.ChargesOf(t.Context(), "o")
	if !payment.IsInvalidResponse(err) {
		t.Fatalf("error = %v, want one about an invalid response", err)
	}
	return err
}

// TestInvalidLedgerEntriesDoNotHideOthers: each invalid entry is a finding of its own, and all
// other entries are still checked.
func TestInvalidLedgerEntriesDoNotHideOthers(t *testing.T) {
	l, p := lied(t)
	l.sold(l.paid("odd", "tok_ok"))
	l.sold(l.paid("bad", "tok_ok"))
	l.givenBack("bad")
	p.entries = func(list []payment.Entry) []payment.Entry {
		for i, e := range list {
			if e.OrderID == "odd" {
				list[i] = payment.Entry{ID: e.ID, OrderID: "odd", Invalid: errors.New("it is over no amount")}
			}
		}
		return append(
			[]payment.Entry{{OrderID: "foreign", Invalid: errors.New("it has no refund's id")}, {Invalid: errors.New("it is null")}},
			list...)
	}
	p.of["odd"] = odd(t)
	for range 2 {
		var got []string
		for _, f := range l.once() {
			if f.Action != "flagged" || f.Error != "" {
				t.Errorf("finding = %+v, want it flagged, without an error", f)
			}
			got = append(got, f.OrderID+": "+f.What)
		}
		entry := "an entry of the provider's ledger is invalid: "
		slices.Sort(got)
		if want := []string{
			": " + entry + "it is null", "bad: order is COMPLETED and has no unrefunded charge of 2.00 EUR",
			"foreign: " + entry + "it has no refund's id", "odd: " + entry + "it is over no amount",
		}; !slices.Equal(got, want) {
			t.Errorf("findings = %q, want %q", got, want)
		}
		l.counts(2)
	}
	p.entries, p.of = nil, map[string]error{"bad": odd(t)}
	l.found("order is COMPLETED, and its entries in the ledger are invalid: ", "flagged")
	l.counts(1)
	p.entries = func([]payment.Entry) []payment.Entry { // a flood of them
		return slices.Repeat([]payment.Entry{{OrderID: "foreign", Invalid: errors.New("odd")}}, 1000)
	}
	if f := l.once(); len(f) > 110 ||
		!slices.ContainsFunc(f, func(f reconcile.Finding) bool { return strings.HasPrefix(f.What, "900 more entries") }) {
		t.Errorf("findings = %d, want at most 110, and one of 900 more entries", len(f))
	}
}

// TestFailedReadsDoNotHideOtherFindings: the ledger of one order, the list of all charges or
// SQS cannot be read. The run fails, and its findings count.
func TestFailedReadsDoNotHideOtherFindings(t *testing.T) {
	l, p := lied(t)
	for _, id := range []string{"a", "b", "c"} {
		l.sold(l.paid(id, "tok_ok"))
		l.givenBack(id)
	}
	run := func(wantError string, wantFound ...string) {
		t.Helper()
		before := l.Reconciler.Unpaid.Succeeded()
		rep, err := l.Once(t.Context())
		var got []string
		for _, f := range rep.Findings {
			got = append(got, f.OrderID)
		}
		if (err == nil) != (wantError == "") || err != nil && !strings.Contains(err.Error(), wantError) || !slices.Equal(got, wantFound) {
			t.Errorf("findings of orders %q, error = %v, want %q and an error with %q, none if empty", got, err, wantFound, wantError)
		}
		if l.Reconciler.Unpaid.Succeeded().After(before) != (err == nil) {
			t.Errorf("last success %s, before %s, want a later one if and only if there is no error: %v", l.Unpaid.Succeeded(), before, err)
		}
	}
	p.of["a"] = errors.New("cut off")
	run("reconcile the payment of order a: cut off", "b", "c")
	l.counts(2)
	p.of = map[string]error{}
	p.list = errors.New("the ledger repeats itself")
	run("the ledger repeats itself", "a", "b", "c")
	l.counts(3)
	p.list = nil
	backlog := l.Backlog
	l.Backlog = func(context.Context) (int, error) { return 0, errors.New("no SQS") }
	run("no SQS", "a", "b", "c")
	l.Backlog = backlog
	p.of["b"] = errors.New("cut off")
	run("cut off", "a", "c")
	l.counts(3) // what was found stays until it is known to be right
	p.of = map[string]error{}
	run("", "a", "b", "c")

	// It is not about one of them if all fail.
	l.Unpaid = &reconcile.Unpaid{} // its clock is ahead of the new orders'
	for i := range 30 {
		id := fmt.Sprintf("d%02d", i)
		l.sold(l.paid(id, "tok_ok"))
		l.givenBack(id)
		p.of[id] = errors.New("down")
	}
	run("order d09: down", "a", "b", "c")
	p.of = map[string]error{}
	if f := l.once(); len(f) != 33 {
		t.Errorf("findings = %d, want 33", len(f))
	}
	l.counts(33)
}

// TestRefundMissingFromTheLedgerIsFlagged: the provider has confirmed a refund, and its ledger
// still lists the charge. The refund is requested once.
func TestRefundMissingFromTheLedgerIsFlagged(t *testing.T) {
	l, p := lied(t)
	p.entries = func(list []payment.Entry) []payment.Entry {
		for i := range list {
			list[i].Refunded, list[i].RefundID = false, ""
		}
		return list
	}
	contradicted := func(what string, refunds int) {
		t.Helper()
		for range 2 {
			l.found(what+", although the provider has confirmed its refund", "flagged")
			l.counts(1)
		}
		if p.refunds != refunds {
			t.Errorf("%d refunds were asked for, want %d", p.refunds, refunds)
		}
	}
	l.charged(l.accepted("o", "tok_ok"))
	require.NoError(l, l.Store.End(t.Context(), "o", order.StatusDeclined, "declined"))
	l.found("order is DECLINED and its charge ch_charge-o was kept", "refunded")
	contradicted("order is DECLINED and its charge ch_charge-o was kept", 1)
	lies := p.entries
	p.entries = nil
	l.nothing()
	l.counts(0)

	l.sold(l.paid("twice", "tok_ok"))
	require.NoError(l, l.Simulators.ForgetPayments(t.Context()))
	l.charged(
		order.Order{
			OrderID:  "twice",
			Currency: "EUR",
			Payment:  order.Payment{Token: "tok_ok"},
			Lines:    []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
		},
	)
	p.entries = func(list []payment.Entry) []payment.Entry {
		return lies(slices.DeleteFunc(list, func(e payment.Entry) bool { return e.OrderID != "twice" }))
	}
	what := "order is COMPLETED with charge ch_charge-twice, and charge ch_charge-twice.2 stands too"
	l.found(what, "surplus refunded")
	contradicted(what, 2)
	p.entries = nil
	l.nothing()
	l.counts(0)

	l.paid("saga", "tok_ok") // whose saga has refunded it
	l.givenBack("saga")
	require.NoError(l, l.Store.MarkRefunded(t.Context(), "saga", "re_charge-saga"))
	require.NoError(l, l.Store.Release(t.Context(), "saga", order.StatusFailed, "test"))
	p.entries = func(list []payment.Entry) []payment.Entry {
		return lies(slices.DeleteFunc(list, func(e payment.Entry) bool { return e.OrderID != "saga" }))
	}
	contradicted("order is FAILED and its charge ch_charge-saga was kept", 2)
	require.NoError(l, l.Store.AddNote(t.Context(), "saga", orderstore.Note{Actor: "ann", Action: "resolve", Text: "the provider has it"}))
	l.found("an operator has resolved a step of it", "flagged")
	l.counts(0)
}

// TestLateChargesInTheLedgerAreFound: a charge enters the ledger long after it was made, and
// after newer charges.
func TestLateChargesInTheLedgerAreFound(t *testing.T) {
	l, p := lied(t)
	l.Grace = time.Minute
	l.charged(l.accepted("late", "tok_ok"))
	require.NoError(l, l.Store.End(t.Context(), "late", order.StatusDeclined, "declined"))
	l.sold(l.paid("newer", "tok_ok"))
	hidden := true
	p.entries = func(list []payment.Entry) []payment.Entry {
		for i, e := range list {
			if e.OrderID == "late" {
				list[i].CreatedAt = e.CreatedAt.Add(-23 * l.Grace)
			}
		}
		return slices.DeleteFunc(list, func(e payment.Entry) bool { return hidden && e.OrderID == "late" })
	}
	orders := &asked{Store: l.Store}
	l.Orders = orders
	var later atomic.Int64
	l.Now = func() time.Time { return time.Now().Add(time.Hour + time.Duration(later.Load())) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	walks := &rounds{Payments: p, done: make(chan int)}
	l.Payments = walks
	go func() { ended <- l.Reconciler.Run(ctx, time.Millisecond) }()
	wait := walks.wait
	wait(3)
	read := orders.n.Load()
	wait(5)
	if more := orders.n.Load() - read; more > 0 {
		t.Errorf("orders read again = %d, want 0", more)
	}
	p.say(func() { hidden = false })
	wait(3)
	l.kept("late") // not every run goes back two hours
	later.Store(int64(12 * l.Grace))
	wait(3)
	cancel()
	require.NoError(l, <-ended)
	l.refunded("late")
}
