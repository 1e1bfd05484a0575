package orderstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestReleaseFreesTheStockOfAnEndedOrder: an operator or a bug may end an order and leave its
// reservation. An order without a reservation is released, too.
func TestReleaseFreesTheStockOfAnEndedOrder(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	s, ctx := a.Store, t.Context()
	for _, final := range []order.Status{order.StatusRejected, order.StatusDeclined, order.StatusCancelled, order.StatusFailed} {
		for _, holds := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, holds %v", final, holds), func(t *testing.T) {
				sku := fmt.Sprintf("%s-%v", final, holds)
				a.SetStock(t, map[string]int64{sku: 10})
				o := accept(t, s, newOrder(sku, order.Line{SKU: sku, Quantity: 2, UnitPrice: 1}))
				if holds {
					if _, err := s.Reserve(ctx, o); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.End(ctx, o.OrderID, final, "ended by hand"); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if err := s.Release(ctx, o.OrderID, order.StatusFailed, "late"); err != nil {
						t.Error(err)
					}
				}
				if rec := wantStatus(t, s, o.OrderID, final); rec.Reason != "ended by hand" {
					t.Errorf("reason = %q, want %q", rec.Reason, "ended by hand")
				}
				wantLevel(t, s, sku, 10, 0, 0)
				if res, err := s.GetReservation(ctx, o.OrderID); err != nil || res.State != orderstore.HoldReleased {
					t.Errorf("reservation = %+v, error = %v, want state %s", res, err, orderstore.HoldReleased)
				}
			})
		}
	}
}

// TestLeakIsReleasedOnce: many callers repair the same leak, while another order rightly holds
// the same SKU.
func TestLeakIsReleasedOnce(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	s, ctx := a.Store, t.Context()
	a.SetStock(t, map[string]int64{"A": 100})
	rightly := accept(t, s, newOrder("rightly", order.Line{SKU: "A", Quantity: 90, UnitPrice: 1}))
	leak := accept(t, s, newOrder("leak"))
	for _, o := range []order.Order{rightly, leak} {
		if _, err := s.Reserve(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.End(ctx, "leak", order.StatusFailed, "by hand"); err != nil {
		t.Fatal(err)
	}
	var g sync.WaitGroup
	for range 32 {
		g.Go(func() {
			if err := s.Release(context.Background(), "leak", order.StatusFailed, ""); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	wantLevel(t, s, "A", 10, 90, 0)
}

func TestReleaseRefusesACompletedOrder(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	s, ctx := a.Store, t.Context()
	a.SetStock(t, map[string]int64{"A": 10})
	held := accept(t, s, newOrder("held"))
	if _, err := s.Reserve(ctx, held); err != nil {
		t.Fatal(err)
	}
	accept(t, s, newOrder("bare"))
	for _, id := range []string{"held", "bare"} { // neither can come to be without an edit by hand
		if err := s.End(ctx, id, order.StatusCompleted, "by hand"); err != nil {
			t.Fatal(err)
		}
		if err := s.Release(ctx, id, order.StatusFailed, "why"); err == nil {
			t.Errorf("the stock of the completed order %s was released, want an error", id)
		}
		wantStatus(t, s, id, order.StatusCompleted)
	}
	wantLevel(t, s, "A", 8, 2, 0)
}

func TestSellWithoutReservationIsFinal(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil).Store
	accept(t, s, newOrder("o"))
	if err := s.Complete(t.Context(), "o", "shp", ""); !errors.Is(err, orderstore.ErrFinished) {
		t.Errorf("Complete = %v, want %v", err, orderstore.ErrFinished)
	}
	wantStatus(t, s, "o", order.StatusPending)
}

// TestAbandonedOrderIsNotSold: the operator who gave the order up received a confirmation.
func TestAbandonedOrderIsNotSold(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	s, ctx := a.Store, t.Context()
	a.SetStock(t, map[string]int64{"A": 10})
	if _, err := s.Reserve(ctx, accept(t, s, newOrder("o"))); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.MarkPaid(ctx, "o", "ch"), s.MarkShipmentRequested(ctx, "o", "shp"), s.MarkNeedsAttention(ctx, "o", "stuck"),
		s.MarkAbandoned(ctx, "o")); err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(ctx, "o", "shp", ""); !errors.Is(err, orderstore.ErrFinished) {
		t.Errorf("Complete = %v, want %v", err, orderstore.ErrFinished)
	}
	wantStatus(t, s, "o", order.StatusNeedsAttention)
}

// TestRefundAndCompletionExcludeEachOther: the first one holds.
func TestRefundAndCompletionExcludeEachOther(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	s, ctx := a.Store, t.Context()
	a.SetStock(t, map[string]int64{"A": 10})
	for i, holds := range [][]order.Demand{nil, {{SKU: "A", Quantity: 2}}} {
		refunded, sold := fmt.Sprint("refunded-", i), fmt.Sprint("sold-", i)
		for _, id := range []string{refunded, sold} {
			if _, err := s.Reserve(ctx, accept(t, s, newOrder(id))); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.MarkPaid(ctx, id, "ch"), s.MarkShipmentRequested(ctx, id, "shp")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.MarkRefunding(ctx, refunded); err != nil {
			t.Fatal(err)
		}
		if err := s.CompleteHolding(ctx, refunded, "shp", "", holds); !errors.Is(err, orderstore.ErrFinished) {
			t.Errorf("refunded and sold: error = %v, want %v", err, orderstore.ErrFinished)
		}
		if err := s.CompleteHolding(ctx, sold, "shp", "", holds); err != nil {
			t.Fatal(err)
		}
		if _, err := s.MarkRefunding(ctx, sold); !errors.Is(err, orderstore.ErrFinished) {
			t.Errorf("sold and refunded: error = %v, want %v", err, orderstore.ErrFinished)
		}
	}
	wantLevel(t, s, "A", 2, 4, 4)
	if _, err := s.MarkRefunding(ctx, "unknown"); !errors.Is(err, orderstore.ErrNotFound) {
		t.Errorf("MarkRefunding of an unknown order = %v, want %v", err, orderstore.ErrNotFound)
	}
}

var errLost = errors.New("the answer was lost")

// deaf does what it is asked and loses the answer.
type deaf struct{ *dynamodb.Client }

func (d deaf) TransactWriteItems(
	ctx context.Context,
	in *dynamodb.TransactWriteItemsInput,
	o ...func(*dynamodb.Options),
) (*dynamodb.TransactWriteItemsOutput, error) {
	if _, err := d.Client.TransactWriteItems(ctx, in, o...); err != nil {
		return nil, err
	}
	return nil, errLost
}

func (d deaf) UpdateItem(
	ctx context.Context,
	in *dynamodb.UpdateItemInput,
	o ...func(*dynamodb.Options),
) (*dynamodb.UpdateItemOutput, error) {
	if _, err := d.Client.UpdateItem(ctx, in, o...); err != nil {
		return nil, err
	}
	return nil, errLost
}

// TestStepsCanBeRepeatedAfterALostResponse: the first run of each step takes effect and its
// response is lost. The second run succeeds and changes nothing.
func TestStepsCanBeRepeatedAfterALostResponse(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	ctx := t.Context()
	shaky := orderstore.New(deaf{a.Clients.DynamoDB}, orderstore.TablesWithPrefix(""), nil)
	twice := func(what string, step func(*orderstore.Store) error) {
		t.Helper()
		if err := step(shaky); !errors.Is(err, errLost) {
			t.Fatalf("%s: error = %v, want %v", what, err, errLost)
		}
		if err := step(a.Store); err != nil {
			t.Errorf("%s, again: %v", what, err)
		}
	}
	reserve := func(o order.Order, held bool) func(*orderstore.Store) error {
		return func(s *orderstore.Store) error {
			res, err := s.Reserve(ctx, o)
			if err == nil && res.Held != held {
				err = fmt.Errorf("%+v", res)
			}
			return err
		}
	}
	sold, released := accept(t, a.Store, newOrder("sold")), accept(t, a.Store, newOrder("released"))
	twice("reserve", reserve(sold, true))
	twice("pay", func(s *orderstore.Store) error { return s.MarkPaid(ctx, "sold", "ch") })
	twice("request", func(s *orderstore.Store) error { return s.MarkShipmentRequested(ctx, "sold", "shp") })
	twice("sell", func(s *orderstore.Store) error { return s.CompleteHolding(ctx, "sold", "shp", "trk", sold.Demand()) })
	twice("reserve", reserve(released, true))
	twice("park", func(s *orderstore.Store) error { return s.MarkNeedsAttention(ctx, "released", "stuck") })
	twice("release", func(s *orderstore.Store) error { return s.Release(ctx, "released", order.StatusFailed, "why") })
	wantStatus(t, a.Store, "sold", order.StatusCompleted)
	wantStatus(t, a.Store, "released", order.StatusFailed)
	wantLevel(t, a.Store, "A", 8, 0, 2)

	short := accept(t, a.Store, newOrder("short", order.Line{SKU: "A", Quantity: 9, UnitPrice: 1}))
	twice("reject", reserve(short, false))
	if rec := wantStatus(t, a.Store, "short", order.StatusRejected); len(rec.ShortSKUs) != 1 {
		t.Errorf("short SKUs = %q, want 1 of them", rec.ShortSKUs)
	}
}
