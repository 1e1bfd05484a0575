package orderstore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "30"); err != nil { // the usual 100 take long under -race; the flag still counts
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func newOrder(id string, lines ...order.Line) order.Order {
	if lines == nil {
		lines = []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}}
	}
	return order.Order{OrderID: id, CustomerID: "c-1", Currency: "EUR", Lines: lines, Payment: order.Payment{Token: "tok_ok"}}
}

func accept(t testing.TB, s *orderstore.Store, o order.Order) order.Order {
	t.Helper()
	if _, created, err := s.Accept(context.Background(), o); err != nil || !created {
		t.Fatalf("accept %s: created = %t, error = %v, want a new order", o.OrderID, created, err)
	}
	return o
}

func wantLevel(t *testing.T, s *orderstore.Store, sku string, available, reserved, sold int64) {
	t.Helper()
	l, err := s.GetLevel(t.Context(), sku)
	if err != nil || l.Available != available || l.Reserved != reserved || l.Sold != sold || l.Received != available+reserved+sold {
		t.Errorf("level of %s = %+v, error = %v, want %d available, %d reserved, %d sold, and their sum received",
			sku, l, err, available, reserved, sold)
	}
}

func wantStatus(t *testing.T, s *orderstore.Store, id string, want order.Status) orderstore.Record {
	t.Helper()
	rec, err := s.Get(t.Context(), id)
	if err != nil || rec.Status != want {
		t.Errorf("order %s is %s (%v), want %s", id, rec.Status, err, want)
	}
	if err == nil && rec.Status.Terminal() == (rec.Token != "") {
		t.Errorf("order %s is %s, with the token %q, want a token if and only if the status is not terminal", id, rec.Status, rec.Token)
	}
	return rec
}

func TestAcceptRecordsAnOrderOnce(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil).Store
	o := accept(t, s, newOrder("o"))
	rec, created, err := s.Accept(t.Context(), o)
	if err != nil || created || rec.Status != order.StatusPending || rec.Token != "tok_ok" {
		t.Errorf("accepted again: order = %+v, created = %t, error = %v, want the one of before, PENDING with token tok_ok", rec, created, err)
	}
	again, err := rec.Order()
	if err != nil || again.Fingerprint() != o.Fingerprint() {
		t.Errorf("order of the record = %+v, error = %v, want the fingerprint of %+v", again, err, o)
	}
	if strings.Contains(rec.Content, "tok_ok") {
		t.Errorf("content = %s, want it without the token", rec.Content)
	}
	o.Lines[0].Quantity++
	if _, _, err := s.Accept(t.Context(), o); !errors.Is(err, orderstore.ErrConflict) {
		t.Errorf("other content: error = %v, want %v", err, orderstore.ErrConflict)
	}
	if _, err := s.Get(t.Context(), "nope"); !errors.Is(err, orderstore.ErrNotFound) {
		t.Errorf("Get of an unknown order: error = %v, want %v", err, orderstore.ErrNotFound)
	}
}

func TestReserveIsAllOrNothing(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	s := a.Store
	a.SetStock(t, map[string]int64{"A": 10, "B": 1, "C": 0})
	o := accept(
		t,
		s,
		newOrder(
			"short",
			order.Line{SKU: "A", Quantity: 1},
			order.Line{SKU: "C", Quantity: 1},
			order.Line{SKU: "B", Quantity: 2},
			order.Line{SKU: "unknown", Quantity: 1},
		),
	)
	for range 2 { // the second time it finds the outcome
		res, err := s.Reserve(t.Context(), o)
		if err != nil || res.Held || !slices.Equal(res.ShortSKUs, []string{"B", "C", "unknown"}) || res.Status != order.StatusRejected {
			t.Errorf("reservation = %+v, error = %v, want none, the order REJECTED, and B, C and unknown short", res, err)
		}
	}
	rec := wantStatus(t, s, "short", order.StatusRejected)
	if rec.Reason != "out of stock: B, C, unknown" {
		t.Errorf("reason = %q, want %q", rec.Reason, "out of stock: B, C, unknown")
	}
	wantLevel(t, s, "A", 10, 0, 0)

	o = accept(t, s, newOrder("merged", order.Line{SKU: "A", Quantity: 4}, order.Line{SKU: "A", Quantity: 6}))
	if res, err := s.ReserveForApproval(t.Context(), o, 0); err != nil || !res.Held {
		t.Errorf("reservation = %+v, error = %v, want it held", res, err)
	}
	wantStatus(t, s, "merged", order.StatusAwaitingApproval)
	wantLevel(t, s, "A", 0, 10, 0)
}

func TestOrderWithTheMaximumOfLinesIsSold(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	var lines []order.Line
	for n := range order.MaxLines {
		sku := fmt.Sprint("S", n)
		a.SetStock(t, map[string]int64{sku: 3})
		lines = append(lines, order.Line{SKU: sku, Quantity: 3, UnitPrice: 1})
	}
	o := accept(t, a.Store, newOrder("big", lines...))
	if res, err := a.Store.Reserve(t.Context(), o); err != nil || !res.Held {
		t.Fatalf("reservation = %+v, error = %v, want it held", res, err)
	}
	if err := errors.Join(a.Store.MarkPaid(t.Context(), "big", "ch"),
		a.Store.CompleteHolding(t.Context(), "big", "shp", "trk", o.Demand())); err != nil {
		t.Fatal(err)
	}
	wantLevel(t, a.Store, "S49", 0, 0, 3)
}

// TestStepsInAnySequenceKeepTheLedger: the steps run in every sequence that crashes, repeats
// and late deliveries can cause, each step twice. The ledger and the final status must be
// right.
func TestStepsInAnySequenceKeepTheLedger(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	s := a.Store
	ctx := t.Context()
	var o order.Order
	steps := map[string]func() error{
		"reserve":  func() error { _, err := s.Reserve(ctx, o); return err },
		"pay":      func() error { return s.MarkPaid(ctx, o.OrderID, "ch") },
		"request":  func() error { return s.MarkShipmentRequested(ctx, o.OrderID, "shp") },
		"sell":     func() error { return s.CompleteHolding(ctx, o.OrderID, "shp", "trk", o.Demand()) },
		"release":  func() error { return s.Release(ctx, o.OrderID, order.StatusFailed, "why") },
		"park":     func() error { return s.MarkNeedsAttention(ctx, o.OrderID, "stuck") },
		"refund":   func() error { return s.MarkRefunded(ctx, o.OrderID, "re") },
		"cancel":   func() error { return s.Release(ctx, o.OrderID, order.StatusCancelled, "changed my mind") },
		"rejected": func() error { return s.End(ctx, o.OrderID, order.StatusRejected, "short") },
	}
	for n, c := range []struct {
		run                       string
		status                    order.Status
		available, reserved, sold int64
	}{
		{"reserve", order.StatusReserved, 8, 2, 0},
		{"reserve pay", order.StatusPaid, 8, 2, 0},
		{"reserve pay sell", order.StatusCompleted, 8, 0, 2},
		{"reserve pay request sell", order.StatusCompleted, 8, 0, 2},
		{"reserve pay sell release", order.StatusCompleted, 8, 0, 2}, // sold is sold
		{"reserve pay sell cancel park", order.StatusCompleted, 8, 0, 2},
		{"reserve release", order.StatusFailed, 10, 0, 0},
		{"reserve release sell", order.StatusFailed, 10, 0, 0},
		{"reserve release pay request", order.StatusFailed, 10, 0, 0},
		{"reserve release reserve", order.StatusFailed, 10, 0, 0}, // a step that comes late
		{"release reserve", order.StatusFailed, 10, 0, 0},         // undone before it was done
		{"reserve cancel release", order.StatusCancelled, 10, 0, 0},
		{"reserve sell", order.StatusReserved, 8, 2, 0}, // not paid
		{"reserve request", order.StatusReserved, 8, 2, 0},
		{"reserve pay refund release", order.StatusFailed, 10, 0, 0},
		{"reserve park release", order.StatusFailed, 10, 0, 0},
		{"reserve pay park sell", order.StatusCompleted, 8, 0, 2},
		{"rejected reserve", order.StatusRejected, 10, 0, 0},
		{"reserve pay request release", order.StatusFailed, 10, 0, 0}, // the carrier refused
	} {
		t.Run(c.run, func(t *testing.T) {
			sku := fmt.Sprint("S", n)
			a.SetStock(t, map[string]int64{sku: 10})
			o = accept(t, s, newOrder(fmt.Sprint("o", n), order.Line{SKU: sku, Quantity: 2, UnitPrice: 1}))
			for step := range strings.FieldsSeq(c.run) {
				for range 2 {
					if err := steps[step](); err != nil && !errors.Is(err, orderstore.ErrFinished) && !errors.Is(err, orderstore.ErrNotFound) {
						t.Fatalf("step %s: error = %v, want none, %v or %v", step, err, orderstore.ErrFinished, orderstore.ErrNotFound)
					}
				}
			}
			wantStatus(t, s, o.OrderID, c.status)
			wantLevel(t, s, sku, c.available, c.reserved, c.sold)
		})
	}
}

func TestStepsOfUnknownOrdersAreRejected(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil).Store
	ctx := t.Context()
	for name, err := range map[string]error{
		"reserve": func() error { _, err := s.Reserve(ctx, newOrder("x")); return err }(),
		"sell":    s.Complete(ctx, "x", "", ""), "pay": s.MarkPaid(ctx, "x", "ch"), "refund": s.MarkRefunded(ctx, "x", "re"),
		"note": s.AddNote(ctx, "x", orderstore.Note{}), "unpark": s.ResumeFromAttention(ctx, "x", order.StatusPaid),
	} {
		if !errors.Is(err, orderstore.ErrNotFound) && !errors.Is(err, orderstore.ErrFinished) {
			t.Errorf("step %s: error = %v, want %v or %v", name, err, orderstore.ErrNotFound, orderstore.ErrFinished)
		}
	}
	if _, err := s.Get(ctx, "x"); !errors.Is(err, orderstore.ErrNotFound) {
		t.Errorf("order x after the steps: error = %v, want %v", err, orderstore.ErrNotFound)
	}
}

// TestConcurrentReservationsNeverOversell: there are more buyers than units, on an endpoint
// that throttles and reports transaction conflicts. The outcome must be exact.
func TestConcurrentReservationsNeverOversell(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, func(o *awslocal.Options) {
		o.Conflict = awslocal.WithProbability(0.2, 1)
	})
	a.SetStock(t, map[string]int64{"HOT": 25, "A": 1000})
	var held, short atomic.Int64
	var g sync.WaitGroup
	for n := range 64 {
		g.Go(func() {
			o := newOrder(fmt.Sprint("r", n), order.Line{SKU: "HOT", Quantity: 1}, order.Line{SKU: "A", Quantity: 2})
			if _, _, err := a.Store.Accept(context.Background(), o); err != nil {
				t.Error(err)
				return
			}
			for range 2 { // each buyer's step runs twice
				res, err := a.Store.Reserve(context.Background(), o)
				if err != nil {
					t.Error(err)
					return
				}
				if res.Held {
					held.Add(1)
				} else {
					short.Add(1)
				}
			}
		})
	}
	g.Wait()
	if held.Load() != 50 || short.Load() != 78 {
		t.Errorf("of 128 orders for 25 units, %d hold stock and %d are short, want 50 and 78", held.Load(), short.Load())
	}
	wantLevel(t, a.Store, "HOT", 0, 25, 0)
	wantLevel(t, a.Store, "A", 950, 50, 0)
}

func TestThrottledRequestsAreRetried(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, func(o *awslocal.Options) { o.Fault = awslocal.ThrottleSome("dynamodb", 0.1, 1) })
	a.SetStock(t, map[string]int64{"A": 100})
	for n := range 5 {
		o := accept(t, a.Store, newOrder(fmt.Sprint("t", n)))
		if _, err := a.Store.Reserve(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	wantLevel(t, a.Store, "A", 90, 10, 0)
}

func TestPermanentConflictEndsTheRetries(t *testing.T) {
	t.Parallel()
	conflict := &atomic.Bool{}
	a := testkit.NewAWS(t, func(o *awslocal.Options) { o.Conflict = conflict.Load })
	a.SetStock(t, map[string]int64{"A": 100})
	o := accept(t, a.Store, newOrder("o"))
	conflict.Store(true)
	_, err := a.Store.Reserve(t.Context(), o)
	if _, ok := errors.AsType[*types.TransactionCanceledException](err); !ok || !strings.Contains(err.Error(), "10 attempts") {
		t.Errorf("error = %v, want a cancelled transaction, after 10 attempts", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Store.Reserve(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
}

func TestCheckLedgerFindsManipulation(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10, "B": 1})
	_, err := a.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: aws.String("stock"), Key: map[string]types.AttributeValue{"sku": &types.AttributeValueMemberS{Value: "A"}},
		UpdateExpression:          aws.String("ADD available :n"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":n": &types.AttributeValueMemberN{Value: "-11"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := a.Store.CheckLedger(t.Context())
	if err != nil || l.SKUs != 2 || len(l.Violations) != 1 || !strings.HasPrefix(l.Violations[0], "A: available -1") {
		t.Errorf("ledger = %+v, error = %v, want 2 SKUs and one violation, which begins with %q", l, err, "A: available -1")
	}
}

func TestNotesAreAppended(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil).Store
	accept(t, s, newOrder("o"))
	for _, text := range []string{"first", "second"} {
		if err := s.AddNote(t.Context(), "o", orderstore.Note{Actor: "ann", Action: "retry", Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := s.Get(t.Context(), "o")
	if err != nil || len(rec.Notes) != 2 || rec.Notes[1].Text != "second" || rec.Notes[0].At == "" {
		t.Errorf("notes = %+v, error = %v, want 2 with their times, the last one second", rec.Notes, err)
	}
}
