package hostile_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/hostile"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// verify verifies the invariants of a system at rest, from outside.
func (g *scenario) verify(ctx context.Context) {
	g.reconcile(ctx) // it compares the orders with the provider's ledger
	var accepted []string
	for id, s := range g.orders {
		if s.accepted {
			accepted = append(accepted, id)
		}
	}
	res, err := invariants.Run(ctx, invariants.Sources{
		Orders: g.Store, Charges: g.ledger, Shipments: g, Sagas: g.parts.Engine,
	}, accepted)
	require.NoError(g, err)
	for _, v := range g.Broken() {
		g.violated("%s", v)
	}
	dead := g.deadLetters(ctx)
	for _, v := range res.Violations {
		if !g.reported(v, dead) {
			g.violated("%s", v)
		}
	}
	for sku, n := range stockOf {
		level, err := g.Store.GetLevel(ctx, sku)
		require.NoError(g, err)
		if level.Received != n {
			g.violated("%s: %d units of %s were received, and the ledger has %+v", invariants.NeverOversold, n, sku, level)
		}
	}
	records := g.records(ctx)
	for id, s := range g.orders {
		g.decisions(id, s, records[id])
		g.size(ctx, id, records[id])
	}
	for id, found := range g.findings {
		s := g.orders[id]
		honest := g.World.AWS == 0 && g.SNSDown == nil && !g.restart
		hadNoSaga := slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, "has no saga") })
		if s != nil && s.disconnects && honest && hadNoSaga {
			g.violated("%s: the client of order %s disconnected, and only the reconciler started its saga", invariants.NothingLost, id)
		}
	}
	if g.seed%4 == 0 {
		g.repeatEverything(ctx, records)
	}
	if rep := g.reconcile(ctx); slices.ContainsFunc(rep.Findings, changes) {
		g.violated("the reconciler still changes something: %+v", rep.Findings)
	}
}

// reported reports whether a violation is due to a lie that the system could not detect,
// and a finding of the reconciler or a dead letter reports it to the operator.
func (g *scenario) reported(violation string, dead []string) bool {
	for _, id := range hostile.OrdersIn(violation) {
		inDeadLetter := slices.ContainsFunc(dead, func(l string) bool { return strings.Contains(l, id) })
		if g.Deceived(id) != "" && (len(g.findings[id]) > 0 || inDeadLetter) {
			return true
		}
	}
	return false
}

// deadLetters returns the reasons and bodies of all dead letters. Each must have a reason.
func (g *scenario) deadLetters(ctx context.Context) (all []string) {
	for _, p := range g.withDeadLetters(ctx) {
		list, err := p.List(ctx, g.Clients.SQS, 100)
		require.NoError(g, err)
		for _, l := range list {
			if l.Reason == "" {
				g.violated("%s: a dead letter of %s without a reason: %s", invariants.NothingLost, p.Name, l.Body)
			}
			all = append(all, l.Reason+" "+l.Body)
			g.Note(hostile.Exchange{
				With: "dead", Orders: hostile.OrdersIn(l.Body + l.Reason), Asked: p.Name + " " + l.Body, Said: l.Reason,
			})
		}
	}
	return all
}

// decisions verifies that the order ended as its accepted actions require.
func (g *scenario) decisions(id string, s *placedOrder, rec orderstore.Record) {
	var approved, rejected, cancelled time.Time
	for _, d := range s.decided {
		if d.status != http.StatusAccepted {
			continue
		}
		switch d.action {
		case "approve":
			approved = d.received
			if !cancelled.IsZero() && cancelled.Before(d.requested) {
				g.violated("order %s: approve was accepted after cancel", id)
			}
		case "reject":
			rejected = d.received
		case "cancel":
			cancelled = d.received
		}
	}
	completed := rec.Status == order.StatusCompleted
	switch {
	case !approved.IsZero() && !rejected.IsZero():
		g.violated("order %s: both approve and reject were accepted", id)
	case !approved.IsZero() && strings.Contains(rec.Reason, "nobody approved"):
		g.violated("order %s: approve was accepted, and it ended %s (%s)", id, rec.Status, rec.Reason)
	case !rejected.IsZero() && completed, !cancelled.IsZero() && completed:
		g.violated("order %s: reject or cancel was accepted, and it ended %s", id, rec.Status)
	}
}

// size verifies that no counterpart has made an order or its saga large.
func (g *scenario) size(ctx context.Context, id string, rec orderstore.Record) {
	const most = 64 << 10
	n := len(rec.Reason) + len(rec.TrackingID)
	for _, note := range rec.Notes {
		n += len(note.Text)
	}
	if n > most {
		g.violated("order %s: its texts have %d bytes", id, n)
	}
	history, err := g.parts.Engine.History(ctx, id)
	if err != nil {
		return // the reconciler has restarted the saga, and its history was deleted
	}
	n = 0
	for _, e := range history {
		n += len(e.Data) + len(e.Error)
	}
	if n > 4*most {
		g.violated("order %s: its saga's history has %d bytes", id, n)
	}
}

// changes reports a finding that changed something.
func changes(f reconcile.Finding) bool { return f.Action != "flagged" }

// repeatEverything sends every message again after all orders have ended. That must change
// nothing.
func (g *scenario) repeatEverything(ctx context.Context, before map[string]orderstore.Record) {
	ledgers := func() string {
		list, _, err := g.ledger.Charges(ctx, "", 1000)
		require.NoError(g, err)
		shipments, err := g.Shipments(ctx)
		require.NoError(g, err)
		level, err := g.Store.GetLevel(ctx, "SCARCE")
		require.NoError(g, err)
		return fmt.Sprintf("%+v\n%+v\n%+v", list, shipments, level)
	}
	was := ledgers()
	pub := intake.Publisher{Topic: snspublisher.New(g.Clients.SNS, g.Resources.OrderTopic)}
	for id, s := range g.orders {
		if before[id].OrderID != "" { // else it would be a new order
			require.NoError(g, pub.PublishOrder(ctx, s.order))
		}
	}
	g.resendTrueAnswers(ctx)
	g.settle(ctx)
	if is := ledgers(); is != was {
		g.violated("%s: the ledgers were\n%s\nand are\n%s", invariants.DuplicatesChangeNothing, was, is)
	}
	for id, rec := range g.records(ctx) {
		if rec.Status != before[id].Status {
			g.violated("%s: order %s was %s and is %s", invariants.DuplicatesChangeNothing, id, before[id].Status, rec.Status)
		}
	}
}
