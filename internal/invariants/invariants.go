// Package invariants verifies the invariants I1 to I5 from outside. It reads the
// stock ledger, the orders, the reservations and the ledgers of the payment
// provider and the carrier, and reports every contradiction. It is for a system
// at rest: in a system that is working, an order may be half done.
// docs/invariants.md defines the invariants.
package invariants

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/paging"
	"github.com/ordersaga/ordersaga/workflows"
)

// Orders is the part of *orderstore.Store that Run reads.
type Orders interface {
	CheckLedger(ctx context.Context) (orderstore.Ledger, error)
	Scan(ctx context.Context, cursor string, limit int) ([]orderstore.Record, string, error)
	ListReservations(ctx context.Context, cursor string, limit int) ([]orderstore.Reservation, string, error)
}

// Charges lists the payment provider's ledger.
type Charges interface {
	ChargesSince(ctx context.Context, since time.Time) iter.Seq2[[]payment.Entry, error]
}

// Shipment is one entry of the carrier's ledger.
type Shipment struct {
	ShipmentID, OrderID string
	Refused             bool
}

// Shipments lists the carrier's ledger.
type Shipments interface {
	Shipments(ctx context.Context) ([]Shipment, error)
}

// Sagas is the part of an engine that Run reads.
type Sagas interface {
	// Get returns an instance, or engine.ErrNotFound.
	Get(ctx context.Context, id string) (engine.Instance, error)
}

// Sources are the ledgers and records that Run compares.
type Sources struct {
	Orders    Orders
	Charges   Charges
	Shipments Shipments
	// Sagas reports which orders have a saga. Nil means that no engine runs: then
	// each open order that does not wait for an operator or the carrier is a
	// violation.
	Sagas Sagas
	// Settled is how long an open order must be unchanged before it is judged.
	// The zero value judges every order.
	Settled time.Duration
}

// Result has the counts of Run, and the violations that it found.
type Result struct {
	Ledger   orderstore.Ledger    `json:"ledger"`
	ByStatus map[order.Status]int `json:"byStatus"`
	Orders   int                  `json:"orders"`
	// ManuallyResolved is the number of ended orders whose refund or shipment an operator
	// settled. That refund or shipment is not judged.
	ManuallyResolved int `json:"byHand"`
	// Unsettled is the number of open orders that changed within Sources.Settled.
	// They are not judged.
	Unsettled  int      `json:"unsettled"`
	Violations []string `json:"violations"`
}

func (r *Result) badf(invariant, format string, args ...any) {
	r.Violations = append(r.Violations, invariant+": "+fmt.Sprintf(format, args...))
}

// Run verifies I1 to I5, and that ended orders store no payment token. Each order
// in accepted must have a record and have ended. Every other order must have
// ended, have a saga, or wait for an operator. Run changes nothing. An error
// means that a source could not be read, not that a violation was found.
func Run(ctx context.Context, b Sources, accepted []string) (Result, error) {
	res := Result{ByStatus: map[order.Status]int{}, Violations: []string{}}
	var err error
	res.Ledger, err = b.Orders.CheckLedger(ctx)
	if err != nil {
		return res, err
	}
	for _, v := range res.Ledger.Violations {
		res.badf(NeverOversold, "%s", v)
	}
	records, err1 := allOrders(ctx, b.Orders)
	held, err2 := allReservations(ctx, b.Orders)
	paid, odd, err3 := allCharges(ctx, b.Charges)
	shipped, err4 := b.Shipments.Shipments(ctx)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return res, err
	}
	for _, e := range odd {
		res.badf(OneCharge, "%v", e.Invalid)
	}
	res.Orders = len(records)
	res.stock(records, held)
	for _, id := range accepted {
		if rec, ok := records[id]; !ok {
			res.badf(NothingLost, "order %s was accepted and has no record", id)
		} else if !rec.Status.Terminal() {
			res.badf(NothingLost, "order %s was accepted and has no outcome: it is %s", id, rec.Status)
		}
	}
	live := map[string]orderstore.Record{}
	for id, rec := range records {
		switch {
		case rec.Status.Terminal():
		case time.Since(rec.UpdatedAt) >= b.Settled:
			live[id] = rec
		default:
			res.Unsettled++
		}
	}
	if err := res.open(ctx, b.Sagas, live); err != nil {
		return res, err
	}
	parcels := map[string]int{}
	for _, s := range shipped {
		if !s.Refused {
			parcels[s.OrderID]++
		}
		if rec, ok := records[s.OrderID]; !ok {
			res.badf(OneShipment, "shipment for order %s, which does not exist", s.OrderID)
		} else if s.ShipmentID != rec.ShipmentID && !parcelsByHand(rec) {
			res.badf(OneShipment, "order %s has shipment %q, and the carrier %q", s.OrderID, rec.ShipmentID, s.ShipmentID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(paid)) {
		if n := paid[id].standing(); len(n) > 1 {
			res.badf(OneCharge, "order %s has %d charges that stand", id, len(n))
		}
		if _, ok := records[id]; !ok && len(paid[id].standing()) > 0 {
			res.badf(OneCharge, "charge for order %s, which does not exist", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(records)) {
		rec := records[id]
		res.ByStatus[rec.Status]++
		if !rec.Listed() {
			res.badf(NothingLost,
				"order %s is %s and in no list, so the reconciler does not find it: its record has no right statusShard, or no placed",
				id, rec.Status)
		}
		if !slices.Contains(order.Statuses(), rec.Status) {
			res.badf(NothingLost, "order %s has the status %q, which is none", id, rec.Status)
		}
		if rec.Status.Terminal() && rec.Token != "" {
			res.badf(NoTokenKept, "order %s has ended and its payment token is still stored", id)
		}
		res.refunds(rec, paid[id])
		switch {
		case rec.Status == order.StatusCompleted:
			res.completed(rec, paid[id].standing(), parcels[id], held[id])
		case rec.Status.Terminal():
			res.ended(rec, paid[id].standing(), parcels[id], held[id].State)
		case live[id].OrderID != "":
			res.live(rec, paid[id].standing(), held[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(held)) {
		if _, ok := records[id]; !ok {
			res.badf(NothingHeld, "reservation %s of order %s, which does not exist", held[id].State, id)
		}
	}
	return res, nil
}

// stock compares the ledger with what orders hold and have bought. Reservations
// expire; for those, the order's lines are what was sold.
func (r *Result) stock(records map[string]orderstore.Record, reservations map[string]orderstore.Reservation) {
	held, sold, skus := map[string]int64{}, map[string]int64{}, map[string]bool{}
	add := func(to map[string]int64, demand []order.Demand) {
		for _, d := range demand {
			to[d.SKU] += d.Quantity
			skus[d.SKU] = true
		}
	}
	for _, res := range reservations {
		switch res.State {
		case orderstore.HoldHeld:
			add(held, res.Items)
		case orderstore.HoldSold:
			add(sold, res.Items)
		case orderstore.HoldReleased:
		}
	}
	for id, rec := range records {
		if _, kept := reservations[id]; !kept && rec.Status == order.StatusCompleted {
			add(sold, order.Order{Lines: rec.Lines}.Demand())
		}
	}
	for sku := range r.Ledger.Levels {
		skus[sku] = true
	}
	for _, sku := range slices.Sorted(maps.Keys(skus)) {
		l := r.Ledger.Levels[sku]
		if l.Reserved != held[sku] {
			r.badf(NeverOversold, "%s: %d units are reserved, and orders hold %d", sku, l.Reserved, held[sku])
		}
		if l.Sold != sold[sku] {
			r.badf(NeverOversold, "%s: %d units are sold, and orders have bought %d", sku, l.Sold, sold[sku])
		}
	}
}

// open verifies that each open order has a saga, or waits for an operator.
func (r *Result) open(ctx context.Context, sagas Sagas, live map[string]orderstore.Record) error {
	var mu sync.Mutex
	var lost []string
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for id, rec := range live {
		if rec.Status == order.StatusNeedsAttention {
			continue
		}
		g.Go(func() error {
			what, err := goesOn(gctx, sagas, rec)
			if err != nil || what == "" {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			lost = append(lost, "order "+id+" is "+string(rec.Status)+" and "+what)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("look for the sagas of open orders: %w", err)
	}
	slices.Sort(lost)
	for _, what := range lost {
		r.badf(NothingLost, "%s", what)
	}
	return nil
}

// goesOn returns why an open order cannot end, or "".
func goesOn(ctx context.Context, sagas Sagas, rec orderstore.Record) (what string, err error) {
	if sagas == nil {
		if rec.Status == order.StatusAwaitingApproval || rec.ShipmentID != "" { // an operator or the carrier decides
			return "", nil
		}
		return "has not ended", nil
	}
	inst, err := sagas.Get(ctx, rec.OrderID)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return "has no saga", nil
	case err == nil && inst.Status.Ended():
		return "its saga has ended " + string(inst.Status), nil
	}
	return "", err
}

// refunds compares the refund in an order's record with the provider's ledger. An
// order that was charged and ended without completing must have one. It is not
// enough that no charge stands: the provider may have lost the charge.
func (r *Result) refunds(rec orderstore.Record, a account) {
	var refunds []string
	for _, e := range a {
		if e.Refunded {
			refunds = append(refunds, e.RefundID)
		}
	}
	undone := rec.Status.Terminal() && rec.Status != order.StatusCompleted && !moneyByHand(rec)
	known := slices.ContainsFunc(a, func(e payment.Entry) bool { return e.ID == rec.ChargeID })
	switch {
	case slices.Contains(refunds, rec.RefundID) && rec.RefundID != "":
		if undone && rec.ChargeID != "" && !known {
			r.badf(OneCharge, "order %s has charge %s, which the provider has not, and its refund %s is of another",
				rec.OrderID, rec.ChargeID, rec.RefundID)
		}
	case rec.RefundID != "":
		r.badf(OneCharge, "order %s has refund %s, and the provider has none of that id for it", rec.OrderID, rec.RefundID)
	case undone && len(refunds) > 0:
		r.badf(OneCharge, "order %s has no refund, and the provider has %s", rec.OrderID, strings.Join(refunds, ", "))
	case undone && rec.ChargeID != "" && !known: // a charge that stands is judged by ended
		r.badf(OneCharge, "order %s is %s with charge %s and without a refund", rec.OrderID, rec.Status, rec.ChargeID)
	}
}

// charged verifies that exactly one charge stands, that it is over the order's
// total, and that the record has its id.
func (r *Result) charged(rec orderstore.Record, charges account) {
	id := rec.OrderID
	switch {
	case len(charges) != 1 && rec.Total > 0:
		r.badf(OneCharge, "order %s is %s with %d charges that stand", id, rec.Status, len(charges))
	case len(charges) == 1 && (charges[0].Amount != rec.Total || charges[0].Currency != rec.Currency):
		r.badf(OneCharge, "order %s cost %s and was charged %s",
			id, money.Format(rec.Total, rec.Currency), money.Format(charges[0].Amount, charges[0].Currency))
	case len(charges) == 1 && charges[0].ID != rec.ChargeID:
		r.badf(OneCharge, "order %s is %s with charge %q, and the one that stands is %q", id, rec.Status, rec.ChargeID, charges[0].ID)
	}
}

// holds verifies that a HELD or SOLD reservation is over the order's lines.
func (r *Result) holds(rec orderstore.Record, res orderstore.Reservation) {
	want := order.Order{Lines: rec.Lines}.Demand()
	if (res.State == orderstore.HoldHeld || res.State == orderstore.HoldSold) && !slices.Equal(res.Items, want) {
		r.badf(NeverOversold, "order %s is %s over %v, and its reservation %s over %v", rec.OrderID, rec.Status, want, res.State, res.Items)
	}
}

// live verifies an open order. Each status is written together with its
// reservation, and after its charge. An order that is being refunded may have no
// charge. An order that needs attention may be stuck at any step.
func (r *Result) live(rec orderstore.Record, charges account, res orderstore.Reservation) {
	r.holds(rec, res)
	switch rec.Status { //nolint:exhaustive // the others hold nothing yet, or may not any more
	case order.StatusReserved, order.StatusAwaitingApproval, order.StatusPaid:
		if res.State != orderstore.HoldHeld {
			r.badf(NeverOversold, "order %s is %s and its reservation %q", rec.OrderID, rec.Status, res.State)
		}
	case order.StatusNeedsAttention:
		if res.State == orderstore.HoldSold {
			r.badf(NeverOversold, "order %s is %s and its reservation %q", rec.OrderID, rec.Status, res.State)
		}
	}
	if (rec.Status == order.StatusPaid || rec.ChargeID != "" || rec.ShipmentID != "") && !rec.Refunding {
		r.charged(rec, charges)
	}
}

// moneyByHand reports whether an operator has settled the order's refund: skipped
// it, or made it outside the system.
func moneyByHand(rec orderstore.Record) bool {
	return slices.Contains(rec.Settled, workflows.StepCharge)
}

// parcelsByHand reports whether an operator has settled the order's shipment, or
// abandoned it.
func parcelsByHand(rec orderstore.Record) bool {
	return rec.GivenUp || slices.ContainsFunc(rec.Settled, workflows.PastPointOfNoReturn)
}

func (r *Result) completed(rec orderstore.Record, charges account, parcels int, res orderstore.Reservation) {
	id := rec.OrderID
	r.charged(rec, charges)
	r.holds(rec, res)
	if rec.Refunding {
		r.badf(OneCharge, "order %s is COMPLETED and marked to be refunded", id)
	}
	if parcelsByHand(rec) {
		r.ManuallyResolved++
	} else if parcels != 1 {
		r.badf(OneShipment, "order %s is COMPLETED with %d shipments", id, parcels)
	}
	expired := res.State == "" && time.Since(rec.CreatedAt) > orderstore.ReservationTTL
	if res.State != orderstore.HoldSold && !expired {
		r.badf(NothingHeld, "order %s is COMPLETED and its reservation %q", id, res.State)
	}
}

// ended verifies an order that ended without completing.
func (r *Result) ended(rec orderstore.Record, charges account, parcels int, state orderstore.HoldState) {
	id := rec.OrderID
	if moneyByHand(rec) || parcelsByHand(rec) {
		r.ManuallyResolved++
	}
	if len(charges) != 0 && !moneyByHand(rec) {
		r.badf(OneCharge, "order %s is %s with %d charges that stand", id, rec.Status, len(charges))
	}
	if parcels != 0 && !parcelsByHand(rec) {
		r.badf(OneShipment, "order %s is %s and was shipped", id, rec.Status)
	}
	if state == orderstore.HoldHeld || state == orderstore.HoldSold {
		r.badf(NothingHeld, "order %s is %s and its reservation %s", id, rec.Status, state)
	}
}

const page = 500

func allOrders(ctx context.Context, o Orders) (map[string]orderstore.Record, error) {
	out := map[string]orderstore.Record{}
	read := func(cursor string) ([]orderstore.Record, string, error) { return o.Scan(ctx, cursor, page) }
	for list, err := range paging.Pages("the table of orders", read, nil) {
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			out[r.OrderID] = r
		}
	}
	return out, nil
}

func allReservations(ctx context.Context, o Orders) (map[string]orderstore.Reservation, error) {
	out := map[string]orderstore.Reservation{}
	read := func(cursor string) ([]orderstore.Reservation, string, error) {
		return o.ListReservations(ctx, cursor, page)
	}
	for list, err := range paging.Pages("the list of reservations", read, nil) {
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			out[r.OrderID] = r
		}
	}
	return out, nil
}

// account is an order's charges.
type account []payment.Entry

// standing returns the charges that were not refunded.
func (a account) standing() account {
	return slices.DeleteFunc(slices.Clone(a), func(e payment.Entry) bool { return e.Refunded })
}

// allCharges returns the valid charges, by their orders, and the others.
func allCharges(ctx context.Context, c Charges) (paid map[string]account, odd []payment.Entry, err error) {
	paid = map[string]account{}
	for list, err := range c.ChargesSince(ctx, time.Time{}) {
		if err != nil {
			return nil, nil, err
		}
		for _, e := range list {
			if e.Invalid != nil {
				odd = append(odd, e)
				continue
			}
			if slices.ContainsFunc(paid[e.OrderID], func(b payment.Entry) bool { return b.ID == e.ID }) {
				return nil, nil, fmt.Errorf("the provider's ledger repeats itself: charge %s of order %s is there twice", e.ID, e.OrderID)
			}
			paid[e.OrderID] = append(paid[e.OrderID], e)
		}
	}
	return paid, odd, nil
}
