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

// Demo publishes a mix of orders, plays the people involved (approver,
// customer, operator), and checks every outcome and invariant.
type Demo struct {
	Orders int
	Seed   uint64
	Out    io.Writer
	// Progress receives the progress bar; nil shows none.
	Progress io.Writer
}

// scenario is one kind of order and what must become of it.
type scenario struct {
	name   string
	weight int
	want   order.Status // "" means: not accepted, goes to the dead letters
	make   func(o *order.Order)
	twice  bool   // published twice
	raw    string // published instead of an order; %q is its id
	person string // what the people involved do: approve, reject, cancel
}

const approvalAbove = 100_000 // 1,000.00 EUR, as devTerms has it

func token(t string) func(*order.Order) { return func(o *order.Order) { o.Payment.Token = t } }
func shipTo(name string) func(*order.Order) {
	return func(o *order.Order) { o.ShipTo.Name = name }
}
func expensive(o *order.Order) {
	o.Lines = []order.Line{{SKU: "SKU-2", Quantity: 1, UnitPrice: approvalAbove + 1}}
}
func also(fs ...func(*order.Order)) func(*order.Order) {
	return func(o *order.Order) {
		for _, f := range fs {
			f(o)
		}
	}
}

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
		{name: "above the limit, approved", weight: 3, want: order.StatusCompleted, make: expensive, person: "approve"},
		{name: "above the limit, refused", weight: 1, want: order.StatusCancelled, make: expensive, person: "reject"},
		{name: "cancelled by the customer", weight: 1, want: order.StatusCancelled, make: expensive, person: "cancel"},
		{name: "refund stuck, operator retries", weight: 1, want: order.StatusFailed, make: also(token("tok_refund_down"), shipTo("REFUSE"))},
		{name: "same message twice", weight: 3, want: order.StatusCompleted, twice: true},
		{name: "malformed message", weight: 2, raw: `{"orderId":%q,"lines":`},
		{name: "invalid order", weight: 1, raw: `{"specVersion":7,"orderId":%q,"customerId":"c","currency":"EUR","lines":[{"sku":"SKU-1","quantity":0,"unitPrice":1}],"payment":{"token":"tok_ok"}}`},
	}
}

const soldOut = "SKU-SOLDOUT"

// Catalogue is the stock that `dev` seeds.
func Catalogue() map[string]int64 {
	c := map[string]int64{soldOut: 0, "SKU-LIMITED": 25}
	for n := range 12 {
		c[fmt.Sprintf("SKU-%d", n+1)] = 1_000_000
	}
	return c
}

type placed struct {
	id       string
	scenario *scenario
}

// plan deals out the scenarios: each one once while there is room, then by
// weight. The same seed gives the same orders.
func (d Demo) plan(prefix string) []placed {
	rng := rand.New(rand.NewPCG(d.Seed, 1)) //nolint:gosec // a demonstration
	all := scenarios()
	var deck []*scenario
	for i := range all {
		for range all[i].weight {
			deck = append(deck, &all[i])
		}
	}
	plan := make([]placed, d.Orders)
	for i := range plan {
		s := deck[rng.IntN(len(deck))]
		if i < len(all) {
			s = &all[i]
		}
		plan[i] = placed{id: fmt.Sprintf("%s%04d", prefix, i+1), scenario: s}
	}
	rng.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	return plan
}

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

// Run publishes, waits for the end, prints the tables, and returns an error
// that says what did not hold.
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
	who := newPeople(address(w.Listener), sims)
	defer who.leave()
	records, err := d.await(ctx, p, who, began, want)
	if err != nil {
		return err
	}
	calls := w.Parts().Cloud.Calls() - callsBefore
	violations, letters, err := d.verify(ctx, p, sims, want, records, prefix, dead)
	if err != nil {
		return err
	}
	d.print(want, records, letters, began, calls)
	printLedger(ctx, d.Out, p.Store)
	if len(violations) > 0 {
		for _, v := range violations {
			_, _ = fmt.Fprintln(d.Out, "VIOLATED ", v)
		}
		return fmt.Errorf("%d invariants or expectations were violated", len(violations))
	}
	_, _ = fmt.Fprintln(d.Out, "All invariants held: never oversold, nothing lost, one charge and one shipment per completed order, nothing left reserved.")
	return nil
}

// observer is the worker's parts with AWS clients of its own: what the demo
// publishes and polls is not the worker's work, and must not count as such.
func observer(ctx context.Context, p worker.Parts, w *worker.Worker) (worker.Parts, error) {
	var err error
	if p.Cloud, err = cloud.New(ctx, w.AWS); err != nil {
		return p, err
	}
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
				// Not to the topic: SNS keeps what is no JSON from the queue.
				_, err := p.Cloud.SQS.SendMessage(gctx, &sqs.SendMessageInput{QueueUrl: &p.Resources.OrderQueue, MessageBody: aws.String(fmt.Sprintf(x.scenario.raw, x.id))})
				return err
			}
			o := d.order(x, n)
			for range map[bool]int{false: 1, true: 2}[x.scenario.twice] {
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

// await plays the people until every order has ended.
func (d Demo) await(ctx context.Context, p worker.Parts, who *people, since time.Time, want map[string]*scenario) (map[string]orderstore.Record, error) {
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
					acts.Go(func() error { return who.act(actsCtx, s, rec) })
				}
			}
			if err := acts.Wait(); err != nil {
				return nil, err
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		_ = bar.Set(len(ended)) // a bar that cannot be drawn is not worth failing for
	}
	_ = bar.Finish()
	return ended, settle(ctx, p, ended)
}

// settle waits until these sagas have ended: an order's last status is written
// a moment before its workflow ends. Others, from before, may wait for days.
func settle(ctx context.Context, p worker.Parts, ended map[string]orderstore.Record) error {
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

// CheckSettled is after what time without a change an order that has not ended
// must have a saga: one that was just accepted gets it within milliseconds.
const CheckSettled = 10 * time.Second

// verify compares every outcome with what it had to be, and checks the
// invariants.
func (d Demo) verify(ctx context.Context, p worker.Parts, sims Simulators, want map[string]*scenario, got map[string]orderstore.Record, prefix string, dead int) (violations []string, letters int, err error) {
	ids := make([]string, 0, len(want))
	for id, s := range want {
		ids = append(ids, id)
		if rec := got[id]; rec.Status != s.want {
			violations = append(violations, fmt.Sprintf("order %s (%s) ended %s (%s), must be %s", id, s.name, rec.Status, rec.Reason, s.want))
		}
	}
	books := payment.New(payment.Options{URL: sims.PaymentURL, Key: sims.PaymentKey, Installation: sims.Installation}) // not the worker's way: that may have a circuit breaker in it
	defer books.Close()
	res, err := invariants.Run(ctx, invariants.Sources{Orders: p.Store, Charges: books, Shipments: sims, Sagas: p.Engine, Settled: CheckSettled}, ids)
	if err != nil {
		return nil, 0, err
	}
	violations = append(violations, res.Violations...)
	letters, unexplained, err := countLetters(ctx, p, prefix, dead)
	if err != nil {
		return nil, 0, err
	}
	if letters < dead || unexplained > 0 {
		violations = append(violations, fmt.Sprintf("%s: %d malformed messages, %d dead letters, %d of them without a reason", invariants.NothingLost, dead, letters, unexplained))
	}
	slices.Sort(violations)
	return violations, letters, nil
}

// countLetters reads the dead-letter queue, leaving its messages there, and
// counts those of this run: the queue may hold others from before.
func countLetters(ctx context.Context, p worker.Parts, prefix string, want int) (letters, unexplained int, err error) {
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
				letters++
				if aws.ToString(m.MessageAttributes["Reason"].StringValue) == "" || aws.ToString(m.MessageAttributes["OriginalMessageId"].StringValue) == "" {
					unexplained++
				}
			}
		}
		if len(seen) > before {
			last = time.Now()
		} else if letters >= want || time.Since(last) > 5*time.Second {
			return letters, unexplained, nil
		}
	}
}

func newBar(w io.Writer, total int, unit string) *progressbar.ProgressBar {
	if w == nil {
		w = io.Discard
	}
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(), progressbar.OptionSetDescription(unit), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionOnCompletion(func() { _, _ = fmt.Fprintln(w) }))
}

// Durations sorts and answers percentiles.
type Durations []time.Duration

func (d Durations) Percentile(p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(p*float64(len(d))), len(d)-1)]
}
