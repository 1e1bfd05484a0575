package hostile_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/hostile"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// settle acts as the operators and the reconciler until the system is at rest.
func (g *scenario) settle(ctx context.Context) {
	g.rests = max(g.rests, 1)
	_, err := g.redrive(ctx)
	require.NoError(g, err)
	g.resendTrueAnswers(ctx)
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	quiet, was, changed := 0, "", time.Now()
	for {
		<-tick.C
		records := g.records(ctx)
		open := g.actOnOpenOrders(ctx, records)
		stats, err := g.parts.Engine.Stats(ctx)
		require.NoError(g, err)
		queued := g.queued(ctx)
		if is := state(records, queued); is != was {
			was, changed = is, time.Now()
		}
		if len(open) == 0 && queued == 0 && stats.Live == stats.AwaitingExternal {
			return
		}
		if time.Since(changed) > time.Second && stats.Live != stats.AwaitingExternal {
			g.resume(ctx)
		}
		// Once no saga makes progress by itself, the reconciler runs.
		if stats.Live == stats.AwaitingExternal {
			quiet++
			if quiet%60 == 10 {
				g.reconcile(ctx)
			}
		} else {
			quiet = 0
		}
		if time.Since(changed) > stuckAfter {
			g.reconcile(ctx)
			for _, id := range open {
				inst, err := g.parts.Engine.Get(ctx, id)
				g.violated("%s: order %s is still %s (%s); its saga is %s at %q (%v)",
					invariants.NothingLost, id, records[id].Status, records[id].Reason, inst.Status, inst.CustomStatus, err)
			}
			if len(open) == 0 {
				g.violated("the system does not come to rest: %d messages in flight, %+v", queued, stats)
			}
			return
		}
	}
}

// state is a text that changes as long as the system makes progress. A retry that cannot
// succeed does not change it.
func state(records map[string]orderstore.Record, queued int) string {
	all := []string{strconv.Itoa(queued)}
	for id, rec := range records {
		all = append(all, id+" "+string(rec.Status))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// resume resumes sagas that were suspended after their orders had ended.
func (g *scenario) resume(ctx context.Context) {
	for id := range g.orders {
		if inst, err := g.parts.Engine.Get(ctx, id); err == nil && inst.Status == engine.Suspended {
			g.act(ctx, id, "resume")
		}
	}
}

// actOnOpenOrders acts as an operator on orders that wait for one. It returns the orders
// that have not ended.
func (g *scenario) actOnOpenOrders(ctx context.Context, records map[string]orderstore.Record) (open []string) {
	for id, rec := range records {
		if rec.Status.Terminal() {
			continue
		}
		open = append(open, id)
		s := g.orders[id]
		if time.Since(s.acted) < 100*time.Millisecond {
			continue
		}
		inst, err := g.parts.Engine.Get(ctx, id)
		if err != nil && !errors.Is(err, engine.ErrNotFound) {
			require.NoError(g, err)
		}
		d := g.Dice("care", id, len(s.decided))
		switch {
		case inst.Status == engine.Suspended:
			g.act(ctx, id, "resume")
		case rec.Status == order.StatusAwaitingApproval && rec.Decision == "":
			g.act(ctx, id, []string{"approve", "approve", "reject"}[d.IntN(3)])
		case rec.Status == order.StatusNeedsAttention:
			g.resolve(ctx, d, rec)
		case inst.CustomStatus == workflows.StepCarrier:
			list, _ := g.carrier.Parcels(id, "", 1)
			if len(list) == 0 {
				continue // the request is on its way
			}
			g.sendTrueAnswer(ctx, list[0])
		default:
			continue
		}
		s.acted = time.Now()
	}
	slices.Sort(open)
	return open
}

// resolve resolves a saga that needs attention, as an operator who has asked the carrier.
func (g *scenario) resolve(ctx context.Context, dice *rand.Rand, rec orderstore.Record) {
	action := saga.ActionRetry
	shipped := g.parcel(rec.OrderID)
	if rec.ShipmentID != "" && dice.IntN(2) == 0 {
		action = saga.ActionCompensate
		if shipped {
			action = saga.ActionResolve
		}
	}
	if rec.ShipmentID == "" && dice.IntN(4) == 0 {
		action = saga.ActionCompensate
	}
	if g.nothingToRefund(ctx, rec) {
		action = saga.ActionResolve
	}
	err := g.call(ctx, http.MethodPost, "/v1/sagas/"+rec.OrderID+"/resolve", api.ResolveRequest{
		Action: action, ActionNote: api.ActionNote{By: "bob"},
	})
	d := decision{action: string(action), requested: time.Now(), received: time.Now()}
	if err == nil {
		d.status = http.StatusAccepted
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.orders[rec.OrderID]
	s.decided = append(s.decided, d)
}

// nothingToRefund reports whether the provider's ledger has no charge to refund. An
// operator looks there after some retries: the provider may have reported a charge that it
// never made. The saga must not conclude that by itself.
func (g *scenario) nothingToRefund(ctx context.Context, rec orderstore.Record) bool {
	retries := 0
	for _, d := range g.orders[rec.OrderID].decided {
		if d.action == string(saga.ActionRetry) && d.status == http.StatusAccepted {
			retries++
		}
	}
	if !rec.Refunding || rec.RefundID != "" || retries < 3 || g.Deceived(rec.OrderID) == "" {
		return false
	}
	charges, err := g.ledger.ChargesOf(ctx, rec.OrderID)
	require.NoError(g, err)
	return !slices.ContainsFunc(charges, func(e payment.Entry) bool { return !e.Refunded })
}

// reconcile runs the reconciler: with a short grace period while the counterparts lie, and
// later as if hours had passed.
func (g *scenario) reconcile(ctx context.Context) reconcile.Report {
	r := g.worker.Reconciler()
	r.Unpaid = &g.unpaid
	r.Grace = 5 * time.Minute
	if g.rests == 0 {
		r.Grace = 600 * time.Millisecond // longer than a charge takes in a flood of orders
	} else {
		later := time.Hour + time.Duration(g.rests-1)*2*time.Hour
		r.Now = func() time.Time { return time.Now().Add(later) }
		g.rests++
	}
	rep, err := r.Once(ctx)
	for n := 0; err != nil && ctx.Err() == nil && g.rests > 0 && n < 100; n++ { // the machine is busy
		g.Note(hostile.Exchange{
			With: "client", Orders: slices.Collect(maps.Keys(g.orders)), Asked: "reconcile", Said: err.Error(),
		})
		rep, err = r.Once(ctx)
	}
	for _, f := range rep.Findings {
		g.mu.Lock()
		g.findings[f.OrderID] = append(g.findings[f.OrderID], f.What+": "+f.Action)
		g.mu.Unlock()
		g.Note(hostile.Exchange{
			With: "client", Orders: []string{f.OrderID}, Asked: "reconcile", Said: f.What + ": " + f.Action + " " + f.Error,
		})
	}
	return rep
}

// redrive redrives all dead letters once: AWS may have lied when they were dead-lettered.
func (g *scenario) redrive(ctx context.Context) (n int, err error) {
	for _, p := range g.withDeadLetters(ctx) {
		moved, e := p.RedriveAll(ctx, g.Clients.SQS, 1000)
		n, err = n+moved, errors.Join(err, e)
	}
	return n, err
}

// queued counts the messages that wait or are in flight.
func (g *scenario) queued(ctx context.Context) (n int) {
	for _, p := range g.pairs() {
		live, _, err := p.Depths(ctx, g.Clients.SQS)
		require.NoError(g, err)
		n += live.Visible + live.InFlight
	}
	return n
}

// pairs returns the queues with their dead-letter queues.
func (g *scenario) pairs() (all []deadletter.Pair) {
	for _, q := range g.Resources.Queues() {
		all = append(all, deadletter.Pair{Name: q.Name, URL: q.URL, DeadURL: q.DeadURL})
	}
	return all
}

// withDeadLetters returns the queues that have dead letters: listing an empty dead-letter
// queue takes a second.
func (g *scenario) withDeadLetters(ctx context.Context) (some []deadletter.Pair) {
	for _, p := range g.pairs() {
		_, dead, err := p.Depths(ctx, g.Clients.SQS)
		require.NoError(g, err)
		if dead.Visible+dead.InFlight > 0 {
			some = append(some, p)
		}
	}
	return some
}
