// Package check proves the invariants of the design from outside: it reads
// the stock ledger, the orders, the provider's and the carrier's books, and
// reports every contradiction. It is for a system at rest: what is under way
// is allowed to be half done.
package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/order"
)

// Orders is what the check reads of *stock.Store.
type Orders interface {
	CheckLedger(ctx context.Context) (stock.Ledger, error)
	Walk(ctx context.Context, statuses []order.Status, limit int, f func([]stock.Record) error) error
	ListReservations(ctx context.Context, cursor string, limit int) ([]stock.Reservation, string, error)
}

// Charges lists the payment provider's book.
type Charges interface {
	Charges(ctx context.Context, cursor string, limit int) ([]payment.Entry, string, error)
}

// Shipment is one entry of the carrier's book.
type Shipment struct {
	OrderID string
	Refused bool
}

// Shipments lists the carrier's book.
type Shipments interface {
	Shipments(ctx context.Context) ([]Shipment, error)
}

// Result is what was counted and what contradicts.
type Result struct {
	Ledger     stock.Ledger
	ByStatus   map[order.Status]int
	Orders     int
	ByHand     int // of those that ended without shipping, how many an operator had a hand in: their charges and parcels are not judged
	Violations []string
}

// Run checks I1, I3, I4 and I5, and that no order is missing from accepted
// (I2; nil skips that).
func Run(ctx context.Context, orders Orders, charges Charges, shipments Shipments, accepted []string) (Result, error) {
	res := Result{ByStatus: map[order.Status]int{}, Violations: []string{}}
	bad := func(invariant, format string, args ...any) {
		res.Violations = append(res.Violations, invariant+": "+fmt.Sprintf(format, args...))
	}
	var err error
	if res.Ledger, err = orders.CheckLedger(ctx); err != nil {
		return res, err
	}
	for _, v := range res.Ledger.Violations {
		bad("I1 never oversold", "%s", v)
	}
	records, err1 := allOrders(ctx, orders)
	held, err2 := allReservations(ctx, orders)
	paid, err3 := allCharges(ctx, charges)
	shipped, err4 := shipments.Shipments(ctx)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return res, err
	}
	res.Orders = len(records)
	for _, id := range accepted {
		if _, ok := records[id]; !ok {
			bad("I2 nothing is lost", "order %s was published and has no record", id)
		}
	}
	parcels := map[string]int{}
	for _, s := range shipped {
		if !s.Refused {
			parcels[s.OrderID]++
		}
		if _, ok := records[s.OrderID]; !ok {
			bad("I4 one shipment", "shipment for order %s, which does not exist", s.OrderID)
		}
	}
	for id, n := range paid {
		if n.net < 0 || n.net > 1 {
			bad("I3 one charge", "order %s has %d charges that stand", id, n.net)
		}
		if _, ok := records[id]; !ok && n.net > 0 {
			bad("I3 one charge", "charge for order %s, which does not exist", id)
		}
	}
	for id, rec := range records {
		res.ByStatus[rec.Status]++
		state, net := held[id].State, paid[id].net
		if rec.Status.Terminal() && rec.Token != "" {
			bad("no token kept", "order %s has ended and its payment token is still stored", id)
		}
		switch {
		case rec.Status == order.StatusCompleted:
			if net != 1 && rec.Total > 0 {
				bad("I3 one charge", "order %s is COMPLETED with %d charges that stand", id, net)
			}
			if net == 1 && paid[id].amount != rec.Total {
				bad("I3 one charge", "order %s cost %d and was charged %d", id, rec.Total, paid[id].amount)
			}
			if parcels[id] != 1 {
				bad("I4 one shipment", "order %s is COMPLETED with %d shipments", id, parcels[id])
			}
			expired := state == "" && time.Since(rec.CreatedAt) > stock.ReservationsLast
			if state != stock.HoldSold && !expired {
				bad("I5 no reservation left", "order %s is COMPLETED and its reservation %q", id, state)
			}
		case rec.Status.Terminal():
			if rec.ByHand() {
				res.ByHand++
			}
			if net != 0 && !rec.ByHand() {
				bad("I3 one charge", "order %s is %s with %d charges that stand", id, rec.Status, net)
			}
			if parcels[id] != 0 && !rec.ByHand() {
				bad("I4 one shipment", "order %s is %s and was shipped", id, rec.Status)
			}
			if state == stock.HoldHeld || state == stock.HoldSold {
				bad("I5 no reservation left", "order %s is %s and its reservation %s", id, rec.Status, state)
			}
		}
	}
	for id, r := range held {
		if _, ok := records[id]; !ok {
			bad("I5 no reservation left", "reservation %s of order %s, which does not exist", r.State, id)
		}
	}
	return res, nil
}

const page = 500

func allOrders(ctx context.Context, o Orders) (map[string]stock.Record, error) {
	out := map[string]stock.Record{}
	err := o.Walk(ctx, order.Statuses(), page, func(part []stock.Record) error {
		for _, r := range part {
			out[r.OrderID] = r
		}
		return nil
	})
	return out, err
}

func allReservations(ctx context.Context, o Orders) (map[string]stock.Reservation, error) {
	out := map[string]stock.Reservation{}
	for cursor := ""; ; {
		list, next, err := o.ListReservations(ctx, cursor, page)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			out[r.OrderID] = r
		}
		if cursor = next; cursor == "" {
			return out, nil
		}
	}
}

type account struct {
	net    int
	amount int64
}

func allCharges(ctx context.Context, c Charges) (map[string]account, error) {
	out := map[string]account{}
	for cursor := ""; ; {
		list, next, err := c.Charges(ctx, cursor, page)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			a := out[e.OrderID]
			if !e.Refunded {
				a.net++
				a.amount += e.Amount
			}
			out[e.OrderID] = a
		}
		if cursor = next; cursor == "" {
			return out, nil
		}
	}
}
