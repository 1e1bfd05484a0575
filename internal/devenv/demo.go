package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// Demo is the Job that publishes a mix of orders, plays their customers, approvers
// and operators, and verifies every outcome and every invariant. Out is required.
type Demo struct {
	Orders int       // number of orders; malformed messages are among them
	Seed   uint64    // the same seed gives the same mix
	Out    io.Writer // receives the report
	// Progress receives the progress bar; nil shows none.
	Progress io.Writer
}

// scenario is one kind of order and its expected outcome.
type scenario struct {
	name   string
	weight int                  // its share of the orders, relative to the other weights
	want   order.Status         // final status; "" means that it becomes a dead letter
	make   func(o *order.Order) // changes an ordinary order; nil leaves it
	twice  bool                 // published twice
	raw    string               // published instead of an order; %q is its id
	action string               // action of the demo actors: approve, reject or cancel
}

// approvalAbove is the approval limit of devTerms, 1,000.00 EUR, in cents.
const approvalAbove = 100_000

// token pays with a test token of the payment simulator.
func token(t string) func(*order.Order) { return func(o *order.Order) { o.Payment.Token = t } }

// shipTo names the recipient, which selects what the carrier simulator does.
func shipTo(name string) func(*order.Order) {
	return func(o *order.Order) { o.ShipTo.Name = name }
}

// expensive makes the order require an approval.
func expensive(o *order.Order) {
	o.Lines = []order.Line{{SKU: "SKU-2", Quantity: 1, UnitPrice: approvalAbove + 1}}
}

// all applies several changes.
func all(fs ...func(*order.Order)) func(*order.Order) {
	return func(o *order.Order) {
		for _, f := range fs {
			f(o)
		}
	}
}

// scenarios returns all kinds of orders.
func scenarios() []scenario {
	return []scenario{
		{name: "ok", weight: 60, want: order.StatusCompleted},
		{name: "out of stock on one line", weight: 8, want: order.StatusRejected, make: func(o *order.Order) {
			o.Lines = append(o.Lines, order.Line{SKU: soldOut, Quantity: 1, UnitPrice: 100})
		}},
		{name: "payment declined", weight: 5, want: order.StatusDeclined, make: token("tok_declined")},
		{name: "insufficient funds", weight: 2, want: order.StatusDeclined, make: token("tok_insufficient_funds")},
		{name: "flaky payment, recovers", weight: 5, want: order.StatusCompleted, make: token("tok_flaky_2")},
		{name: "charged, answer lost", weight: 3, want: order.StatusCompleted, make: token("tok_lost_response")},
		{name: "charge outcome unknown", weight: 2, want: order.StatusFailed, make: token("tok_lost_always")},
		{name: "refused by the carrier", weight: 4, want: order.StatusFailed, make: shipTo("REFUSE")},
		{name: "above the limit, approved", weight: 3, want: order.StatusCompleted, make: expensive, action: "approve"},
		{name: "above the limit, rejected", weight: 1, want: order.StatusCancelled, make: expensive, action: "reject"},
		{name: "cancelled by the customer", weight: 1, want: order.StatusCancelled, make: expensive, action: "cancel"},
		{name: "refund stuck, operator retries", weight: 1, want: order.StatusFailed, make: all(token("tok_refund_down"), shipTo("REFUSE"))},
		{name: "same message twice", weight: 3, want: order.StatusCompleted, twice: true},
		{name: "malformed message", weight: 2, raw: `{"orderId":%q,"lines":`},
		{name: "invalid order", weight: 1, raw: `{"specVersion":7,"orderId":%q,"customerId":"c","currency":"EUR",` +
			`"lines":[{"sku":"SKU-1","quantity":0,"unitPrice":1}],"payment":{"token":"tok_ok"}}`},
	}
}

// soldOut is the SKU without stock.
const soldOut = "SKU-SOLDOUT"

// Catalogue returns the stock that `dev` starts with: units on hand by SKU.
func Catalogue() map[string]int64 {
	c := map[string]int64{soldOut: 0, "SKU-LIMITED": 25}
	for n := range 12 {
		c[fmt.Sprintf("SKU-%d", n+1)] = 1_000_000
	}
	return c
}

// placed is an order to publish.
type placed struct {
	id       string
	scenario *scenario
}

// plan chooses the scenarios of the orders: first each scenario once, then at random
// by weight. The same seed gives the same plan. prefix begins every order id.
func (d Demo) plan(prefix string) []placed {
	rng := rand.New(rand.NewPCG(d.Seed, 1)) //nolint:gosec // a demonstration
	kinds := scenarios()
	var deck []*scenario
	for i := range kinds {
		for range kinds[i].weight {
			deck = append(deck, &kinds[i])
		}
	}
	plan := make([]placed, d.Orders)
	for i := range plan {
		s := deck[rng.IntN(len(deck))]
		if i < len(kinds) {
			s = &kinds[i]
		}
		plan[i] = placed{id: fmt.Sprintf("%s%04d", prefix, i+1), scenario: s}
	}
	rng.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	return plan
}

// order returns the order of p, which is number n of the plan.
func (d Demo) order(p placed, n int) order.Order {
	o := order.Order{
		SpecVersion: order.SpecVersion, OrderID: p.id, CustomerID: fmt.Sprintf("c-%d", n%17), Currency: "EUR",
		Payment:  order.Payment{Token: "tok_ok"},
		ShipTo:   &order.Address{Name: "Ada Example", Line1: "1 Loopback Lane", City: "Berlin", PostalCode: "D-10115", Country: "DE"},
		PlacedAt: time.Now().UTC(),
	}
	for i := range 1 + n%3 {
		o.Lines = append(o.Lines, order.Line{SKU: fmt.Sprintf("SKU-%d", 1+(n+i)%12), Quantity: int64(1 + n%4), UnitPrice: 1999})
	}
	if p.scenario.make != nil {
		p.scenario.make(&o)
	}
	return o
}

// Run implements Job. It publishes the orders, waits until all have ended, and
// writes the report. It returns an error if an outcome or an invariant is violated;
// the report lists each violation.
func (d Demo) Run(ctx context.Context, w *worker.Worker, sims Simulators) error {
	p, err := observer(ctx, w.Parts(), w)
	if err != nil {
		return err
	}
	prefix := "demo-" + uuid.NewString()[:8] + "-"
	plan := d.plan(prefix)
	began, callsBefore := time.Now(), w.Parts().Cloud.Calls()
	if err := d.publish(ctx, p, plan); err != nil {
		return err
	}
	want := map[string]*scenario{}
	dead := 0
	for _, x := range plan {
		if x.scenario.raw != "" {
			dead++
			continue
		}
		want[x.id] = x.scenario
	}
	actors := newDemoActors(address(w.Listener), sims)
	defer actors.close()
	records, err := d.await(ctx, p, actors, began, want)
	if err != nil {
		return err
	}
	calls := w.Parts().Cloud.Calls() - callsBefore
	violations, deadLetters, err := d.verify(ctx, p, sims, outcomes{want: want, got: records, prefix: prefix, dead: dead})
	if err != nil {
		return err
	}
	d.report(want, records, deadLetters, began, calls)
	reportLedger(ctx, d.Out, p.Store)
	if len(violations) > 0 {
		for _, v := range violations {
			_, _ = fmt.Fprintln(d.Out, "VIOLATED ", v)
		}
		return fmt.Errorf("%d outcomes or invariants are violated: see the lines that begin with VIOLATED", len(violations))
	}
	_, _ = fmt.Fprintln(d.Out, "All invariants held: never oversold, nothing lost, "+
		"one charge and one shipment per completed order, nothing left reserved.")
	return nil
}

// observer returns the worker's parts with AWS clients of their own, so that the
// demo's calls do not count as the worker's.
func observer(ctx context.Context, p worker.Parts, w *worker.Worker) (worker.Parts, error) {
	clients, err := cloud.New(ctx, w.AWS)
	if err != nil {
		return p, err
	}
	p.Cloud = clients
	p.Store = orderstore.New(p.Cloud.DynamoDB, orderstore.TablesWithPrefix(w.TablePrefix), nil)
	return p, nil
}

// publish sends all orders to the OrderEvents topic.
func (d Demo) publish(ctx context.Context, p worker.Parts, plan []placed) error {
	pub := intake.Publisher{Topic: snspublisher.New(p.Cloud.SNS, p.Resources.OrderTopic)}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for n, x := range plan {
		g.Go(func() error {
			if x.scenario.raw != "" {
				// To the queue, not to the topic: SNS's filter drops what is not JSON.
				_, err := p.Cloud.SQS.SendMessage(gctx, &sqs.SendMessageInput{
					QueueUrl: &p.Resources.OrderQueue, MessageBody: aws.String(fmt.Sprintf(x.scenario.raw, x.id)),
				})
				return err
			}
			o := d.order(x, n)
			times := 1
			if x.scenario.twice {
				times = 2
			}
			for range times {
				if err := pub.PublishOrder(gctx, o); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("publish demo orders: %w", err)
	}
	return nil
}

// await lets the actors act until every order has ended, and returns the orders'
// records. Orders from before since are not read.
func (d Demo) await(
	ctx context.Context, p worker.Parts, actors *demoActors, since time.Time, want map[string]*scenario,
) (map[string]orderstore.Record, error) {
	bar := newBar(d.Progress, len(want), "sagas")
	ended := map[string]orderstore.Record{}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(ended) < len(want) {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("demo stopped with %d of %d orders ended: %w", len(ended), len(want), ctx.Err())
		case <-tick.C:
		}
		for q := (orderstore.Query{Since: since, Limit: 1000}); ; {
			page, err := p.Store.List(ctx, q)
			if err != nil {
				return nil, err
			}
			acts, actsCtx := errgroup.WithContext(ctx)
			acts.SetLimit(8)
			for _, rec := range page.Records {
				s := want[rec.OrderID]
				if s == nil {
					continue
				}
				if rec.Status.Terminal() {
					ended[rec.OrderID] = rec
				} else {
					acts.Go(func() error { return actors.act(actsCtx, s, rec) })
				}
			}
			if err := acts.Wait(); err != nil {
				return nil, err
			}
			q.Cursor = page.Next
			if q.Cursor == "" {
				break
			}
		}
		_ = bar.Set(len(ended)) // a progress bar that cannot be drawn does not fail the demo
	}
	_ = bar.Finish()
	return ended, awaitSagas(ctx, p, ended)
}

// awaitSagas waits until the sagas of these orders have ended: an order's last
// status is written a moment before its workflow ends. Older sagas, which may wait
// for days, are not awaited.
func awaitSagas(ctx context.Context, p worker.Parts, ended map[string]orderstore.Record) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for id := range ended {
		g.Go(func() error {
			if _, err := p.Engine.Wait(gctx, id); err != nil && !errors.Is(err, engine.ErrNotFound) {
				return fmt.Errorf("wait for the end of saga %s, whose order has ended: %w", id, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// CheckSettled is the time without a change after which an order that has not ended
// must have a saga. A new order gets its saga within milliseconds.
const CheckSettled = 10 * time.Second

// outcomes has the expected and the actual outcomes of the demo.
type outcomes struct {
	want   map[string]*scenario // by order id
	got    map[string]orderstore.Record
	prefix string // of the ids of this run
	dead   int    // expected dead letters
}

// verify compares every outcome with the expected one, and checks the invariants.
func (d Demo) verify(
	ctx context.Context, p worker.Parts, sims Simulators, o outcomes,
) (violations []string, deadLetters int, err error) {
	ids := make([]string, 0, len(o.want))
	for id, s := range o.want {
		ids = append(ids, id)
		if rec := o.got[id]; rec.Status != s.want {
			violations = append(violations, fmt.Sprintf("order %s (%s) ended as %s (%s), want %s", id, s.name, rec.Status, rec.Reason, s.want))
		}
	}
	// A client of its own: the worker's may have an open circuit breaker.
	payments := payment.New(payment.Options{URL: sims.PaymentURL, Key: sims.PaymentKey, Installation: sims.Installation})
	defer payments.Close()
	res, err := invariants.Run(ctx, invariants.Sources{
		Orders: p.Store, Charges: payments, Shipments: sims, Sagas: p.Engine, Settled: CheckSettled,
	}, ids)
	if err != nil {
		return nil, 0, err
	}
	violations = append(violations, res.Violations...)
	deadLetters, unexplained, err := countDeadLetters(ctx, p, o.prefix, o.dead)
	if err != nil {
		return nil, 0, err
	}
	if deadLetters < o.dead || unexplained > 0 {
		violations = append(violations, fmt.Sprintf("%s: %d malformed messages, %d dead letters, %d of them without a reason",
			invariants.NothingLost, o.dead, deadLetters, unexplained))
	}
	slices.Sort(violations)
	return violations, deadLetters, nil
}

// countDeadLetters reads the dead-letter queue without deleting from it. It counts
// the messages that contain prefix, as the queue may have older ones. unexplained
// counts those without a reason or the original message's id. It returns once it
// has found want, or no new message for five seconds.
func countDeadLetters(ctx context.Context, p worker.Parts, prefix string, want int) (n, unexplained int, err error) {
	seen := map[string]bool{}
	for last := time.Now(); ; {
		out, err := p.Cloud.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &p.Resources.OrderDLQ, MaxNumberOfMessages: 10, VisibilityTimeout: 5, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{sqstypes.MessageSystemAttributeNameAll},
		})
		if err != nil {
			return 0, 0, fmt.Errorf("read dead letters: %w", err)
		}
		before := len(seen)
		for _, m := range out.Messages {
			if id := *m.MessageId; !seen[id] {
				seen[id] = true
				if !strings.Contains(*m.Body, prefix) {
					continue
				}
				n++
				reason, original := m.MessageAttributes["Reason"], m.MessageAttributes["OriginalMessageId"]
				if aws.ToString(reason.StringValue) == "" || aws.ToString(original.StringValue) == "" {
					unexplained++
				}
			}
		}
		if len(seen) > before {
			last = time.Now()
		} else if n >= want || time.Since(last) > 5*time.Second {
			return n, unexplained, nil
		}
	}
}

// newBar returns a progress bar; w may be nil.
func newBar(w io.Writer, total int, unit string) *progressbar.ProgressBar {
	if w == nil {
		w = io.Discard
	}
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(), progressbar.OptionSetDescription(unit), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionOnCompletion(func() { _, _ = fmt.Fprintln(w) }))
}

// Durations are durations in any order. The zero value has none. It is not safe for
// concurrent use.
type Durations []time.Duration

// Percentile returns the duration below which the share p of all lie, with p from 0
// to 1; 0 if there are none. It sorts d.
func (d Durations) Percentile(p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(p*float64(len(d))), len(d)-1)]
}
