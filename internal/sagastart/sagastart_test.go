package sagastart_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/sagastart"
	"github.com/ordersaga/ordersaga/workflows"
)

var accepted = time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)

func record() orderstore.Record {
	return orderstore.Record{
		OrderID: "o-1", CustomerID: "c-1", Token: "tok_ok", Trace: "00-trace-01", CreatedAt: accepted,
		Content: `{"orderId":"o-1","customerId":"c-1","currency":"EUR","lines":[{"sku":"A","quantity":2,"unitPrice":100}],` +
			`"shipTo":{"name":"Ann","line1":"Street 1","city":"Bonn","countryCode":"DE"}}`,
	}
}

// TestStateCarriesOverWhatAnEarlierSagaRecorded also checks that neither the customer
// nor the payment token get into a saga's history.
func TestStateCarriesOverWhatAnEarlierSagaRecorded(t *testing.T) {
	t.Parallel()
	fresh := workflows.State{
		OrderID: "o-1", Trace: "00-trace-01", Accepted: accepted.UnixMilli(),
		Order: order.Order{OrderID: "o-1", Currency: "EUR", Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}}},
		Terms: workflows.Terms{AwaitCarrier: true},
	}
	for name, c := range map[string]struct {
		change func(*orderstore.Record)
		want   func(*workflows.State)
	}{
		"new order": {change: func(*orderstore.Record) {}, want: func(*workflows.State) {}},
		"approved": {
			change: func(r *orderstore.Record) { r.Decision = orderstore.Approved },
			want:   func(s *workflows.State) { s.Approved = true },
		},
		"approval rejected": {change: func(r *orderstore.Record) { r.Decision = orderstore.Rejected }, want: func(*workflows.State) {}},
		"charged": {
			change: func(r *orderstore.Record) { r.ChargeID = "ch-1" },
			want:   func(s *workflows.State) { s.ChargeID, s.Approved = "ch-1", true },
		},
		"shipment requested": {
			change: func(r *orderstore.Record) { r.ChargeID, r.ShipmentID = "ch-1", "sh-1" },
			want:   func(s *workflows.State) { s.ChargeID, s.ShipmentID, s.Approved = "ch-1", "sh-1", true },
		},
	} {
		rec, want := record(), fresh
		c.change(&rec)
		c.want(&want)
		got, err := sagastart.State(rec, workflows.Terms{AwaitCarrier: true, ApprovalLimits: money.Limits{}})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: state = %+v, error %v, want %+v", name, got, err, want)
		}
	}
}

type startFunc func(workflow, id string, input any) error

func (f startFunc) Start(_ context.Context, workflow, id string, input any) error {
	return f(workflow, id, input)
}

func TestStartUsesTheOrderIDAndKeepsTheEnginesError(t *testing.T) {
	t.Parallel()
	var got []any
	sagas := startFunc(func(workflow, id string, input any) error {
		got = append(got, workflow, id, input.(workflows.State).OrderID)
		return engine.ErrActive
	})
	err := sagastart.Start(t.Context(), sagas, record(), workflows.Terms{})
	if want := []any{workflows.OrderSaga, "o-1", "o-1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("started %v, want %v", got, want)
	}
	if !errors.Is(err, engine.ErrActive) {
		t.Errorf("error = %v, want %v", err, engine.ErrActive)
	}
}

func TestStartRejectsARecordWithoutContent(t *testing.T) {
	t.Parallel()
	sagas := startFunc(func(string, string, any) error {
		t.Error("a saga was started, want none")
		return nil
	})
	err := sagastart.Start(t.Context(), sagas, orderstore.Record{OrderID: "o-1"}, workflows.Terms{})
	if err == nil {
		t.Error("error = nil, want that of decoding the record")
	}
}
