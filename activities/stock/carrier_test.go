package stock_test

import (
	"errors"
	"testing"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestCarrierAnswered(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	s := a.Store
	if _, err := s.CarrierAnswered(t.Context(), "nobody", stock.Refused, "", "x"); !errors.Is(err, stock.ErrNotFound) {
		t.Errorf("%v", err)
	}
	o := accept(t, s, newOrder("o"))
	_, err := s.Reserve(t.Context(), o, order.StatusReserved)
	if err = errors.Join(err, s.MarkPaid(t.Context(), "o", "ch"), s.MarkShipmentRequested(t.Context(), "o", "shp")); err != nil {
		t.Fatal(err)
	}
	answer := func(a stock.Carrier, tracking, why string, notes int) stock.Record {
		t.Helper()
		for range 2 {
			rec, err := s.CarrierAnswered(t.Context(), "o", a, tracking, why)
			if err != nil || rec.Carrier != a || rec.RefusedFor() != "island" || len(rec.Notes) != notes || rec.OrderID != "o" {
				t.Errorf("%+v %v", rec, err)
			}
		}
		return wantStatus(t, s, "o", order.StatusPaid)
	}
	answer(stock.Refused, "", "island", 1)
	if err := s.Sell(t.Context(), "o", "shp", "", o.Demand()...); !errors.Is(err, stock.ErrFinished) {
		t.Errorf("sold what the carrier does not take: %v", err)
	}
	wantLevel(t, s, "A", 8, 2, 0)
	if rec := answer(stock.Dispatched, "trk", "", 1); rec.TrackingID != "trk" { // asked again, it took it
		t.Errorf("%+v", rec)
	}
	if err := s.Sell(t.Context(), "o", "shp", "", o.Demand()...); err != nil {
		t.Error(err)
	}
	if rec := wantStatus(t, s, "o", order.StatusCompleted); rec.TrackingID != "trk" {
		t.Errorf("%+v", rec)
	}
}

// TestCarrierAnswerWakes: somebody has to run the saga that waited for it.
func TestCarrierAnswerWakes(t *testing.T) {
	s := testkit.NewAWS(t, nil).Store
	accept(t, s, newOrder("o"))
	if err := s.MarkNeedsAttention(t.Context(), "o", "carrier: no carrier within 1h"); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.CarrierAnswered(t.Context(), "o", stock.Dispatched, "", ""); err != nil || rec.AsleepUntil != "" {
		t.Errorf("%+v %v", rec, err)
	}
}
