package app_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ordersaga/ordersaga/internal/app"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestLostOrdersFindRoom: on Dapr orders are counted, and more of them than there
// may be sagas once lost theirs. None would ever have been begun again.
func TestLostOrdersFindRoom(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	o := order.Order{CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"}, Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}}}
	for i := range 6 {
		o.OrderID = fmt.Sprint("lost", i)
		_, _, err := a.Store.Accept(t.Context(), o)
		must(t, err)
	}
	byOrder, err := app.LoadOf(a.Store, nil)(t.Context())
	must(t, err)
	const maxLive = 4
	for _, c := range []struct {
		st         engine.Stats
		lost, room int
	}{
		{byOrder, 6, 4},
		{byOrder, 3, 1},
		{byOrder, 1, -1},
		{byOrder, 9, 4}, // the index is a moment behind
		{engine.Stats{Live: 6, Resting: 3}, 6, 1},
		{engine.Stats{Live: 6, Resting: 3, ByOrder: true}, 2, 3},
	} {
		if n := app.RoomForLost(c.st, maxLive, c.lost); n != c.room {
			t.Errorf("%+v, %d of them lost: room for %d, want %d", c.st, c.lost, n, c.room)
		}
	}
}

// TestQueuedOrdersAreNotLive: as many as there are messages in the queue have no
// saga yet, or there would never be room for them.
func TestQueuedOrdersAreNotLive(t *testing.T) {
	a := testkit.NewAWS(t, nil)
	o := order.Order{CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"}, Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 1}}}
	for i := range 5 {
		o.OrderID = fmt.Sprint("queued", i)
		_, _, err := a.Store.AcceptQueued(t.Context(), o)
		must(t, err)
	}
	o.OrderID = "received"
	_, _, err := a.Store.Accept(t.Context(), o)
	must(t, err)
	for _, c := range []struct {
		queue deadletter.Depth
		live  int
	}{{deadletter.Depth{}, 6}, {deadletter.Depth{Visible: 1, InFlight: 2}, 3}, {deadletter.Depth{Visible: 100}, 1}} {
		st, err := app.LoadOf(a.Store, func(context.Context) (deadletter.Depth, error) { return c.queue, nil })(t.Context())
		if err != nil || st != (engine.Stats{Live: c.live, ByOrder: true}) {
			t.Errorf("%+v: %+v %v", c.queue, st, err)
		}
	}
	if _, err := app.LoadOf(a.Store, func(context.Context) (deadletter.Depth, error) { return deadletter.Depth{}, errors.New("no") })(t.Context()); err == nil {
		t.Error("no depth, no error")
	}
}
