package hostile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/ordersaga/ordersaga/internal/hostile"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// liePhase places the orders and does the planned actions while the counterparts lie.
func (g *scenario) liePhase(ctx context.Context) {
	n := 6 + g.dice.IntN(5)
	if g.flood {
		n = 20
	}
	for i := range n {
		s := g.newOrder(i)
		g.orders[s.order.OrderID] = s
	}
	g.Begin()
	started, until, over := time.Now(), lies, make(chan struct{})
	defer close(over)
	if g.flood {
		until = 4 * lies
	}
	for _, id := range slices.Sorted(maps.Keys(g.orders)) {
		g.actions.Go(func() { g.place(ctx, g.orders[id]) })
	}
	if g.flood {
		g.actions.Go(func() { g.watchLive(ctx, over) })
	}
	if g.restart {
		g.actions.Go(func() { g.restartWorker(ctx, started) })
	}
	g.actions.Go(func() { g.stocktakes(ctx, started) })
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for time.Since(started) < until {
		<-tick.C
		open, left, records := 0, 0, g.records(ctx)
		for id, rec := range records {
			s := g.orders[id]
			if !rec.Status.Terminal() && rec.Status != order.StatusNeedsAttention {
				open++
			}
			for i, c := range s.plan {
				if c.do == nil {
					continue
				}
				left++
				if (c.when == "" || c.when == rec.Status) && time.Since(started) > c.at || rec.Status.Terminal() {
					s.plan[i].do = nil
					g.actions.Go(func() { c.do(ctx, id) })
				}
			}
		}
		if open == 0 && left == 0 && len(records) == n && time.Since(started) > lies/2 {
			return
		}
	}
}

// restartWorker stops the worker after a while and starts another one in its place.
func (g *scenario) restartWorker(ctx context.Context, started time.Time) {
	d := g.Dice("restart")
	select {
	case <-ctx.Done():
		return
	case <-time.After(time.Until(started.Add(time.Duration(50+d.IntN(700)) * time.Millisecond))):
	}
	old := g.worker
	g.stopWorker()
	w := worker.Worker{
		DataDir: old.DataDir, AWS: old.AWS, PaymentURL: old.PaymentURL, PaymentTimeout: old.PaymentTimeout, Terms: old.Terms,
		MaxLive: old.MaxLive, ShutdownTimeout: old.ShutdownTimeout, ForceOwnership: true, Logger: old.Logger,
	}
	var err error
	w.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", old.Listener.Addr().String())
	require.NoError(g, err)
	g.worker = &w
	for g.parts, err = w.Open(ctx); err != nil && ctx.Err() == nil; { // AWS lies from the start
		g.parts, err = w.Open(ctx)
	}
	require.NoError(g, err)
	g.stopWorker = g.background(w.Run)
	g.Note(hostile.Exchange{
		With: "client", Orders: slices.Collect(maps.Keys(g.orders)),
		Asked: "another worker", Said: fmt.Sprintf("it runs; with the engine's state: %t", w.DataDir != ""),
	})
}

// stocktakes counts the scarce stock a few times.
func (g *scenario) stocktakes(ctx context.Context, started time.Time) {
	d := g.Dice("stocktake")
	for range d.IntN(3) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(started.Add(time.Duration(d.IntN(500)) * time.Millisecond))):
		}
		g.count(ctx, "SCARCE")
	}
}

// count sets the stock on hand of a SKU: the initial stock less what was sold. It does so
// twice, as a client that did not receive the first response.
func (g *scenario) count(ctx context.Context, sku string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.api.Base+"/v1/stock/"+sku, http.NoBody)
	require.NoError(g, err)
	res, err := g.api.HTTP.Do(r)
	if err != nil {
		return // the worker is restarting
	}
	defer func() { _ = res.Body.Close() }() // decoded below
	var level orderstore.Level
	if res.StatusCode != http.StatusOK || json.NewDecoder(res.Body).Decode(&level) != nil {
		return
	}
	counter := g.api
	counter.Header = http.Header{"If-Match": {res.Header.Get("ETag")}}
	onHand := stockOf[sku] - level.Sold
	for range 2 {
		err = counter.Call(ctx, http.MethodPut, "/v1/stock/"+sku, map[string]int64{"onHand": onHand}, nil)
		g.Note(hostile.Exchange{
			With: "client", Orders: slices.Collect(maps.Keys(g.orders)),
			Asked: fmt.Sprintf("stock set %s %d, of %+v", sku, onHand, level), Said: fmt.Sprint(err),
		})
	}
}

// watchLive verifies until over that the live sagas stay within capacity. It runs the
// reconciler at the same time, while orders wait in the queue.
func (g *scenario) watchLive(ctx context.Context, over <-chan struct{}) {
	g.actions.Go(func() {
		for every(over, 100*time.Millisecond) {
			g.reconcile(ctx)
		}
	})
	for every(over, 5*time.Millisecond) {
		st, err := g.parts.Engine.Stats(ctx)
		require.NoError(g, err)
		// Intake and the reconciler may both take the same capacity, and no more.
		if live := st.Live - st.AwaitingExternal; live > 2*g.worker.MaxLive {
			g.violated("max live: more than twice %d sagas are live", g.worker.MaxLive)
		}
	}
}

// every waits for the interval and returns true, or false if over is closed.
func every(over <-chan struct{}, interval time.Duration) bool {
	select {
	case <-over:
		return false
	case <-time.After(interval):
		return true
	}
}

// records returns the records of all orders from the true table. It makes one request, as
// it is called often.
func (g *scenario) records(ctx context.Context) map[string]orderstore.Record {
	table := orderstore.TablesWithPrefix("").Orders
	out, err := g.Clients.DynamoDB.Scan(ctx, &dynamodb.ScanInput{TableName: &table, ConsistentRead: aws.Bool(true)})
	require.NoError(g, err)
	var list []orderstore.Record
	require.NoError(g, attributevalue.UnmarshalListOfMaps(out.Items, &list))
	all := make(map[string]orderstore.Record, len(list))
	for _, rec := range list {
		if g.orders[rec.OrderID] != nil { // the table also has the workers' heartbeats
			all[rec.OrderID] = rec
		}
	}
	return all
}
