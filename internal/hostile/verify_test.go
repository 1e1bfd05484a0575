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

// verify looks at a system at rest from outside.
func (g *game) verify(ctx context.Context) {
	g.reconcile(ctx) // what a provider lied about shows in its book
	var accepted []string
	for id, s := range g.orders {
		if s.accepted {
			accepted = append(accepted, id)
		}
	}
	res, err := invariants.Run(ctx, invariants.Sources{Orders: g.Store, Charges: g.books, Shipments: g, Sagas: g.parts.Engine}, accepted)
	require.NoError(g, err)
	for _, v := range g.Broken() {
		g.violated("%s", v)
	}
	letters := g.letters(ctx)
	for _, v := range res.Violations {
		if !g.told(v, letters) {
			g.violated("%s", v)
		}
	}
	for sku, n := range stockOf {
		level, err := g.Store.GetLevel(ctx, sku)
		require.NoError(g, err)
		if level.Received != n {
			g.violated("I1 never oversold: %d pieces of %s ever came, and the ledger has %+v", n, sku, level)
		}
	}
	records := g.records(ctx)
	for id, s := range g.orders {
		g.decisions(id, s, records[id])
		g.size(ctx, id, records[id])
	}
	for id, found := range g.findings {
		s := g.orders[id]
		if s != nil && s.leaves && g.World.AWS == 0 && g.SNSDown == nil && !g.restart && slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, "has no saga") }) {
			g.violated("I2 nothing is lost: the client of order %s went away, and only the reconciler started it", id)
		}
	}
	if g.seed%4 == 0 {
		g.again(ctx, records)
	}
	if rep := g.reconcile(ctx); slices.ContainsFunc(rep.Findings, changes) {
		g.violated("the reconciler does not come to rest: %+v", rep.Findings)
	}
}

// told reports whether a person knows of a violation that comes of a lie that
// nobody could see through.
func (g *game) told(violation string, letters []string) bool {
	for _, id := range hostile.OrdersIn(violation) {
		if g.Deceived(id) != "" && (len(g.findings[id]) > 0 || slices.ContainsFunc(letters, func(l string) bool { return strings.Contains(l, id) })) {
			return true
		}
	}
	return false
}

// letters are the dead ones; each says why it is there.
func (g *game) letters(ctx context.Context) (all []string) {
	for _, p := range g.dead(ctx) {
		list, err := p.List(ctx, g.Clients.SQS, 100)
		require.NoError(g, err)
		for _, l := range list {
			if l.Reason == "" {
				g.violated("I2 nothing is lost: a dead letter of %s without a reason: %s", p.Name, l.Body)
			}
			all = append(all, l.Reason+" "+l.Body)
			g.Note(hostile.Exchange{With: "dead", Orders: hostile.OrdersIn(l.Body + l.Reason), Asked: p.Name + " " + l.Body, Said: l.Reason})
		}
	}
	return all
}

// decisions checks that what people were told about an order holds.
func (g *game) decisions(id string, s *script, rec orderstore.Record) {
	var approved, rejected, cancelled time.Time
	for _, d := range s.decided {
		if d.status != http.StatusAccepted {
			continue
		}
		switch d.action {
		case "approve":
			approved = d.heard
			if !cancelled.IsZero() && cancelled.Before(d.asked) {
				g.violated("order %s: approve was accepted after cancel was", id)
			}
		case "reject":
			rejected = d.heard
		case "cancel":
			cancelled = d.heard
		}
	}
	completed := rec.Status == order.StatusCompleted
	switch {
	case !approved.IsZero() && !rejected.IsZero():
		g.violated("order %s: both approve and reject were accepted", id)
	case !approved.IsZero() && strings.Contains(rec.Reason, "nobody approved"):
		g.violated("order %s: approve was accepted, and it ended %s (%s)", id, rec.Status, rec.Reason)
	case !rejected.IsZero() && completed, !cancelled.IsZero() && completed:
		g.violated("order %s: was rejected or cancelled, and that was accepted; it ended %s", id, rec.Status)
	}
}

// size checks that nobody made an order or its saga large.
func (g *game) size(ctx context.Context, id string, rec orderstore.Record) {
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
		return // begun again by the reconciler, and gone
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

// again has everything come once more, now that all has ended: it changes nothing
// (I6).
func (g *game) again(ctx context.Context, before map[string]orderstore.Record) {
	books := func() string {
		list, _, err := g.books.Charges(ctx, "", 1000)
		require.NoError(g, err)
		shipments, err := g.Shipments(ctx)
		require.NoError(g, err)
		level, err := g.Store.GetLevel(ctx, "SCARCE")
		require.NoError(g, err)
		return fmt.Sprintf("%+v\n%+v\n%+v", list, shipments, level)
	}
	was := books()
	pub := intake.Publisher{Topic: snspublisher.New(g.Clients.SNS, g.Resources.OrderTopic)}
	for id, s := range g.orders {
		if before[id].OrderID != "" { // else it would be new
			require.NoError(g, pub.PublishOrder(ctx, s.order))
		}
	}
	g.clerk(ctx)
	g.rest(ctx)
	if is := books(); is != was {
		g.violated("I6 duplicates change nothing: the books were\n%s\nand are\n%s", was, is)
	}
	for id, rec := range g.records(ctx) {
		if rec.Status != before[id].Status {
			g.violated("I6 duplicates change nothing: order %s was %s and is %s", id, before[id].Status, rec.Status)
		}
	}
}
