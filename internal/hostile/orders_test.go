package hostile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/hostile"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// placedOrder is an order, and what its client and the operators do about it.
type placedOrder struct {
	order order.Order
	plan  []plannedAction

	disconnects bool               // its client disconnects when OrderPlaced is published
	disconnect  context.CancelFunc // nil: the client has not connected, or has disconnected
	accepted    bool               // its client has received that it was accepted
	decided     []decision         // the actions so far, and their responses
	acted       time.Time          // time of the last action after the lies
}

// plannedAction is an action of a client or an operator. It is done once.
type plannedAction struct {
	when order.Status  // the order's status; "" is any
	at   time.Duration // since the start
	do   func(ctx context.Context, id string)
}

// decision is an action of an operator and its response.
type decision struct {
	action              string
	status              int // of the response; 0: no response
	requested, received time.Time
}

// newOrder returns an order, with the plan of what its client and operators do.
func (g *scenario) newOrder(n int) *placedOrder {
	d := g.dice
	s := &placedOrder{order: order.Order{
		SpecVersion: 1, OrderID: orderName(g.seed, n), CustomerID: fmt.Sprint("c-", n%3), Currency: "EUR",
		Lines:   []order.Line{{SKU: "PLENTY", Quantity: int64(1 + d.IntN(4)), UnitPrice: int64(100 + d.IntN(900))}},
		Payment: order.Payment{Token: "tok_ok"},
		ShipTo:  &order.Address{Name: "Ada Example", Line1: "1 Loopback Lane", City: "Berlin", PostalCode: "D-10115", Country: "DE"},
	}}
	soon := func(within int) time.Duration { return time.Duration(d.IntN(within)) * time.Millisecond }
	plan := func(when order.Status, at time.Duration, do func(context.Context, string)) {
		s.plan = append(s.plan, plannedAction{when: when, at: at, do: do})
	}
	if g.flood {
		return s
	}
	switch d.IntN(10) {
	case 0:
		s.order.Payment.Token = []string{"tok_declined", "tok_insufficient_funds"}[d.IntN(2)]
	case 1:
		s.order.Payment.Token = []string{"tok_flaky_2", "tok_rate_limited_1", "tok_lost_response"}[d.IntN(3)]
	case 2:
		s.order.ShipTo.Name = "REFUSE"
	case 3:
		s.order.ShipTo.Name = "SILENT"
	}
	switch d.IntN(6) {
	case 0, 1:
		s.order.Lines[0].SKU = "SCARCE"
	case 2:
		if d.IntN(3) == 0 {
			s.order.Lines = append(s.order.Lines, order.Line{SKU: "NONE", Quantity: 1, UnitPrice: 1})
		}
	case 3:
		if d.IntN(3) == 0 {
			s.order.Lines[0].UnitPrice = 0 // nothing to pay
		}
	}
	if d.IntN(3) == 0 { // above the approval limit
		s.order.Lines[0].UnitPrice = approvalAbove + 1
		waits := order.StatusAwaitingApproval
		at := soon(350)
		switch d.IntN(8) {
		case 0, 1:
			plan(waits, at, g.does("approve"))
		case 2:
			plan(waits, at, g.does("reject"))
		case 3:
			plan(waits, at, g.does("approve"))
			plan(waits, at, g.does("cancel"))
		case 4:
			plan(waits, at, g.does("approve"))
			plan(waits, at, g.does("reject"))
		case 5:
			plan(waits, at, func(ctx context.Context, id string) {
				g.sendForeignAnswer(ctx, id)
				g.act(ctx, id, "approve")
			})
		case 6:
			plan(waits, at, func(ctx context.Context, id string) {
				g.act(ctx, id, "cancel")
				g.act(ctx, id, "approve")
			})
		}
	}
	switch d.IntN(8) {
	case 0: // two operators suspend it at the same time, and two resume it
		both := func(action string) func(context.Context, string) {
			return func(ctx context.Context, id string) {
				var two sync.WaitGroup
				for range 2 {
					two.Go(func() { g.act(ctx, id, action) })
				}
				two.Wait()
			}
		}
		at, in := soon(200), []order.Status{order.StatusReserved, order.StatusPaid, order.StatusAwaitingApproval}[d.IntN(3)]
		plan(in, at, both("suspend"))
		plan("", at+soon(300)+20*time.Millisecond, both("suspend"))
		plan("", at+soon(300)+50*time.Millisecond, both("resume"))
	case 1:
		plan("", soon(400), g.does("cancel"))
	case 2:
		plan("", soon(300), g.sendForeignAnswer)
	case 3: // an operator does not wait for the lies to end
		plan(order.StatusNeedsAttention, 0, g.does("retry"))
	}
	if d.IntN(5) == 0 {
		s.disconnects = true
	}
	return s
}

// place places an order as its client does: it retries until the order is accepted, unless
// it disconnects.
func (g *scenario) place(ctx context.Context, s *placedOrder) {
	d := g.Dice("client", s.order.OrderID)
	if s.disconnects {
		ctx, cancel := context.WithCancel(ctx)
		g.mu.Lock()
		s.disconnect = cancel
		g.mu.Unlock()
		err := g.call(ctx, http.MethodPost, "/v1/orders", s.order)
		cancel()
		g.accepted(s, err)
		return
	}
	times := 1 + d.IntN(2)*d.IntN(3) // some place it more than once
	path := "/v1/sagas"
	if g.flood || d.IntN(5) > 0 {
		path = "/v1/orders"
	}
	for n := 0; n < times && ctx.Err() == nil; {
		err := g.call(ctx, http.MethodPost, path, s.order)
		g.accepted(s, err)
		if err == nil || !retriable(err) {
			n++
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// retriable reports whether a client retries after this error.
func retriable(err error) bool {
	p, ok := errors.AsType[*client.Problem](err)
	return !ok || p.Status >= 500 || p.Status == http.StatusTooManyRequests
}

// accepted records that a client has received that its order was accepted.
func (g *scenario) accepted(s *placedOrder, err error) {
	if err == nil {
		g.mu.Lock()
		s.accepted = true
		g.mu.Unlock()
	}
}

// disconnectClients disconnects the clients that do so when their order is about to be
// published. The publishing request then waits until the server has noticed.
func (g *scenario) disconnectClients(operation string, orders []string) (wait bool) {
	if !strings.HasPrefix(operation, "Publish") {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range orders {
		if s := g.orders[id]; s != nil && s.disconnect != nil {
			s.disconnect()
			s.disconnect, wait = nil, true
		}
	}
	return wait
}

// call sends a request to the API and logs the exchange.
func (g *scenario) call(ctx context.Context, method, path string, in any) error {
	err := g.api.Call(ctx, method, path, in, nil)
	response := "accepted"
	if err != nil {
		response = err.Error()
	}
	b, _ := json.Marshal(in) // it was sent
	g.Note(hostile.Exchange{
		With: "client", Orders: hostile.OrdersIn(path + string(b)), Asked: method + " " + path + " " + string(b), Said: response,
	})
	return err
}

// act requests an operator's action on a saga and records the response.
func (g *scenario) act(ctx context.Context, id, action string) {
	d := decision{action: action, requested: time.Now(), status: http.StatusAccepted}
	err := g.call(ctx, http.MethodPost, "/v1/sagas/"+id+"/"+action, api.ActionNote{By: "ann", Note: "seed"})
	d.received = time.Now()
	if err != nil {
		d.status = 0
		if p, ok := errors.AsType[*client.Problem](err); ok {
			d.status = p.Status
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.orders[id].decided = append(g.orders[id].decided, d)
}

// does returns act with this action.
func (g *scenario) does(action string) func(context.Context, string) {
	return func(ctx context.Context, id string) { g.act(ctx, id, action) }
}

// sendForeignAnswer sends a carrier's answer about an order: about another shipment, or
// before the shipment was requested.
func (g *scenario) sendForeignAnswer(ctx context.Context, id string) {
	d := g.Dice("slander", id)
	shipment := []string{"shp-foreign", "", "shp-" + id}[d.IntN(3)]
	kind := []string{"ShipmentRefused", "ShipmentRefused", "ShipmentDispatched"}[d.IntN(3)]
	text := fmt.Sprintf(`{"specVersion":1,"type":%q,"shipmentId":%q,"orderId":%q,"reason":"not yours"}`, kind, shipment, id)
	if shipment == "shp-"+id {
		g.Deceive(id, "the carrier answers before the shipment request, or at the same time")
	}
	g.Note(hostile.Exchange{With: "carrier", Orders: []string{id}, Asked: "(nothing)", Said: text, Truth: "no shipment was requested"})
	require.NoError(g, g.answers.SendText(ctx, text))
}
