package orderstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// walk reads all pages of a list.
func walk(t *testing.T, s *orderstore.Store, q orderstore.Query) (ids []string) {
	t.Helper()
	for {
		p, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Records {
			ids = append(ids, r.OrderID)
		}
		q.Cursor = p.Next
		if p.Next == "" {
			return ids
		}
	}
}

// TestListsIncludeOrdersThatChangeMeanwhile: four writers move orders through their statuses,
// in both directions, while all orders are listed 200 times. Each list has each order once.
func TestListsIncludeOrdersThatChangeMeanwhile(t *testing.T) {
	t.Parallel()
	open := []order.Status{order.StatusPending, order.StatusReserved, order.StatusPaid, order.StatusNeedsAttention}
	for _, c := range []struct {
		name  string
		walks int
		query orderstore.Query
	}{
		{"all", 200, orderstore.Query{Limit: 8}},
		{"all of an article", 20, orderstore.Query{Limit: 8, SKU: "A"}},
		{"all of a customer", 20, orderstore.Query{Limit: 8, CustomerID: "c"}},
		{"all of a customer, in the statuses that they have", 20, orderstore.Query{Limit: 8, CustomerID: "c", Statuses: open}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := testkit.NewAWS(t, nil)
			a.SetStock(t, map[string]int64{"A": 1000})
			const orders, writers = 24, 4
			var all []string
			for n := range orders {
				o := newOrder(fmt.Sprintf("o%02d", n))
				o.CustomerID = "c"
				accept(t, a.Store, o)
				all = append(all, o.OrderID)
			}
			ctx, stop := context.WithCancel(t.Context())
			var writing sync.WaitGroup
			changes := make([]int, writers)
			for w := range writers {
				writing.Go(func() {
					for ctx.Err() == nil {
						id := all[rand.IntN(orders/writers)*writers+w]
						err := a.Store.MarkNeedsAttention(ctx, id, "x")
						if err == nil {
							err = a.Store.ResumeFromAttention(ctx, id, open[rand.IntN(3)])
						}
						if err != nil && ctx.Err() == nil {
							t.Errorf("change %s: %v", id, err)
							return
						}
						changes[w]++
					}
				})
			}
			missed, twice := 0, 0
			for range c.walks {
				got := walk(t, a.Store, c.query)
				slices.Sort(got)
				once := slices.Compact(slices.Clone(got))
				missed, twice = missed+orders-len(once), twice+len(got)-len(once)
			}
			stop()
			writing.Wait()
			if slices.Contains(changes, 0) {
				t.Fatalf("changes of each writer = %v, want none to be 0", changes)
			}
			if missed > 0 || twice > 0 {
				t.Errorf("%d walks over %d orders missed %d and had %d twice, want 0 and 0, during %v changes", c.walks, orders, missed, twice, changes)
			}
		})
	}
}

// changing changes an order before one of the queries of its shard.
type changing struct {
	orderstore.DynamoDB

	shard  string // "#3"
	before int    // which query; they are counted from 0
	change func()
	mu     sync.Mutex
	seen   int
}

func (c *changing) Query(ctx context.Context, in *dynamodb.QueryInput, o ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	if key, ok := in.ExpressionAttributeValues[":k"].(*types.AttributeValueMemberS); ok && strings.HasSuffix(key.Value, c.shard) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.seen == c.before {
			c.change()
		}
		c.seen++
	}
	return c.DynamoDB.Query(ctx, in, o...)
}

// TestListHasAnOrderOnceIfItsStatusChanges: the order may change from one listed status to
// another at any moment of the list.
func TestListHasAnOrderOnceIfItsStatusChanges(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	accept(t, a.Store, newOrder("x"))
	rec, err := a.Store.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	shard := rec.StatusShard[strings.LastIndex(rec.StatusShard, "#"):]
	is := func(st order.Status) {
		_, err := a.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "x"}},
			UpdateExpression: aws.String(
				"SET #status = :status, statusShard = :shard",
			), ExpressionAttributeNames: map[string]string{"#status": "status"},
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":status": &types.AttributeValueMemberS{Value: string(st)}, ":shard": &types.AttributeValueMemberS{Value: string(st) + shard},
			},
		})
		if err != nil {
			t.Error(err)
		}
	}
	parked := order.StatusNeedsAttention
	for _, move := range [][2]order.Status{
		{order.StatusPending, order.StatusReserved},
		{order.StatusReserved, order.StatusAwaitingApproval},
		{order.StatusAwaitingApproval, order.StatusPaid},
		{order.StatusReserved, order.StatusPaid},
		{order.StatusPaid, order.StatusCompleted},
		{order.StatusPending, order.StatusRejected},
		{order.StatusReserved, order.StatusDeclined},
		{order.StatusAwaitingApproval, order.StatusCancelled},
		{order.StatusPaid, order.StatusFailed},
		{order.StatusPending, parked},
		{order.StatusPaid, parked},
		{parked, order.StatusPending},
		{parked, order.StatusReserved},
		{parked, order.StatusPaid},
		{parked, order.StatusCompleted},
		{parked, order.StatusFailed},
		{order.StatusCompleted, order.StatusPaid},
		{order.StatusCompleted, parked},
	} {
		for _, statuses := range [][]order.Status{{move[0], move[1]}, {move[1], move[0]}} {
			for before, queries := 0, 1; before < queries; before++ {
				is(move[0])
				db := &changing{DynamoDB: a.Clients.DynamoDB, shard: shard, before: before, change: func() { is(move[1]) }}
				got := walk(t, orderstore.New(db, orderstore.TablesWithPrefix(""), nil), orderstore.Query{Statuses: statuses, Limit: 5})
				if !slices.Equal(got, []string{"x"}) {
					t.Errorf("%s to %s before query %d of %v: list = %v, want [x]", move[0], move[1], before, statuses, got)
				}
				queries = db.seen
				if queries < 2 {
					t.Fatalf("queries = %d, want at least 2", queries)
				}
			}
		}
	}
}

// olderTable takes from the tables what releases before the index by time have
// not: the index, the note that it has all orders, and the orders' place in it.
func olderTable(t *testing.T, a testkit.AWS, ids ...string) *orderstore.Store {
	t.Helper()
	table, db := aws.String("orders"), a.Clients.DynamoDB
	_, err := db.UpdateTable(
		t.Context(),
		&dynamodb.UpdateTableInput{TableName: table, GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{
			{Delete: &types.DeleteGlobalSecondaryIndexAction{IndexName: aws.String("byTime")}},
		}},
	)
	if err == nil {
		_, err = db.DeleteItem(
			t.Context(),
			&dynamodb.DeleteItemInput{
				TableName: table,
				Key:       map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "#all-by-time"}},
			},
		)
	}
	if err != nil {
		t.Fatal(err)
	}
	noPlace(t, a, ids...)
	return orderstore.New(db, orderstore.TablesWithPrefix(""), nil) // one that remembers nothing
}

// noPlace makes orders such as older releases accept.
func noPlace(t *testing.T, a testkit.AWS, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := a.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: id}},
			UpdateExpression: aws.String("REMOVE timeShard"),
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUpgradeKeepsOlderOrdersInEveryList: lists have the orders of older releases throughout
// the upgrade. The index has them at its end.
func TestUpgradeKeepsOlderOrdersInEveryList(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	var want []string
	for n := range 20 {
		id := fmt.Sprintf("o%02d", n)
		accept(t, a.Store, newOrder(id))
		want = append([]string{id}, want...)
	}
	s := olderTable(t, a, want[3:]...) // three were accepted by a new worker
	lists := func(what string) {
		t.Helper()
		if got := walk(t, s, orderstore.Query{Limit: 3}); !slices.Equal(got, want) {
			t.Errorf("%s: list = %v, want %v", what, got, want)
		}
	}
	lists("no index")
	if err := s.Find(t.Context()); err == nil || !strings.Contains(err.Error(), "table orders has no index byTime") ||
		!strings.Contains(err.Error(), "ordersaga setup") {
		t.Errorf("a start without the index: error = %v, want one about the missing index, which names ordersaga setup", err)
	}
	fill := func(want int) {
		t.Helper()
		n, err := s.BackfillTimeIndex(t.Context())
		if err != nil || n != want {
			t.Errorf("back-filled %d, %d were expected: %v", n, want, err)
		}
	}
	for range 2 { // the second changes nothing
		if err := s.CreateTables(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Find(t.Context()); err != nil {
		t.Error(err)
	}
	lists("an index that has three")
	before, err := s.Get(t.Context(), want[19])
	if err != nil {
		t.Fatal(err)
	}
	fill(17)
	lists("an index that has all, which nobody has looked at")
	fill(0)
	lists("the index")
	fill(0)
	if after, err := s.Get(t.Context(), want[19]); err != nil || after.TimeShard == "" || !after.UpdatedAt.Equal(before.UpdatedAt) {
		t.Errorf("order = %+v, error = %v, want a shard of the time index, and no update since %s", after, err, before.UpdatedAt)
	}
	// That it is the index which is read now: what it lacks is not in the list.
	s = olderTable(t, a)
	if err := s.CreateTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(0)
	noPlace(t, a, want[0])
	all := want
	want = want[1:]
	lists("the index, of one that an old worker accepted afterwards")
	if err := s.MarkNeedsAttention(t.Context(), all[0], "x"); err != nil {
		t.Fatal(err)
	}
	want = all
	lists("the index, and that order has changed its status since")
	accept(t, a.Store, newOrder("later"))
	s = orderstore.New(a.Clients.DynamoDB, orderstore.TablesWithPrefix(""), nil) // the next process, after a roll-back
	noPlace(t, a, "later")
	want = append([]string{"later"}, want...)
	fill(1)
	lists("the index, and a process of this release has looked")
}

// counting counts scans.
type counting struct {
	orderstore.DynamoDB

	scans int
}

func (c *counting) Scan(ctx context.Context, in *dynamodb.ScanInput, o ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	c.scans++
	return c.DynamoDB.Scan(ctx, in, o...)
}

// TestBackfillReadsHistoryOnce: the table only grows, so the start of a process must not cost
// a scan of it.
func TestBackfillReadsHistoryOnce(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	accept(t, a.Store, newOrder("old"))
	olderTable(t, a, "old")
	if err := a.Store.CreateTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill := func(scans, orders int) {
		t.Helper()
		db := &counting{DynamoDB: a.Clients.DynamoDB}
		s := orderstore.New(db, orderstore.TablesWithPrefix(""), nil) // a process
		n, err := s.BackfillTimeIndex(t.Context())
		if err != nil || n != orders || db.scans != scans {
			t.Errorf("%d orders with %d scans: %v; want %d with %d", n, db.scans, err, orders, scans)
		}
	}
	fill(1, 1)
	fill(1, 0)
	fill(0, 0)
	accept(t, a.Store, newOrder("rolled-back"))
	noPlace(t, a, "rolled-back")
	fill(0, 1)
	fill(0, 0)
}

// TestBackfillReadsOnlyTheLastDay: the start of a process must not read all orders that were
// accepted while the previous one ran.
func TestBackfillReadsOnlyTheLastDay(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	began := time.Now()
	for id, days := range map[string]int{"old": 1, "new": 30} {
		at := func() time.Time { return began.Add(time.Duration(days) * 24 * time.Hour) }
		accept(t, orderstore.New(a.Clients.DynamoDB, orderstore.TablesWithPrefix(""), at), newOrder(id))
		noPlace(t, a, id)
	}
	now := began
	s := orderstore.New(a.Clients.DynamoDB, orderstore.TablesWithPrefix(""), func() time.Time { return now })
	for run, want := range []int{2, 0, 0} { // the last one only moves the date
		if run == 2 {
			now = began.Add(30*24*time.Hour + time.Minute)
		}
		if n, err := s.BackfillTimeIndex(t.Context()); err != nil || n != want {
			t.Fatalf("run %d: orders = %d, error = %v, want %d and no error", run, n, err, want)
		}
	}
	noPlace(t, a, "old")
	noPlace(t, a, "new")
	next := orderstore.New(a.Clients.DynamoDB, orderstore.TablesWithPrefix(""), nil)
	if n, err := next.BackfillTimeIndex(t.Context()); err != nil || n != 1 {
		t.Errorf("%d orders: %v, want that of the last day alone", n, err)
	}
}

// TestSparseListNeedsFewRequests: rare matches among many orders are found with few requests.
func TestSparseListNeedsFewRequests(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	few := newOrder("few")
	few.Lines[0].SKU = "FEW"
	accept(t, a.Store, few)
	for n := range 200 {
		accept(t, a.Store, newOrder(fmt.Sprintf("o%03d", n)))
	}
	db := &changing{DynamoDB: a.Clients.DynamoDB, shard: "#0", before: -1}
	got := walk(t, orderstore.New(db, orderstore.TablesWithPrefix(""), nil), orderstore.Query{SKU: "FEW", Limit: 2})
	if !slices.Equal(got, []string{"few"}) || db.seen > 12 {
		t.Errorf("list = %v with %d queries of a shard, want [few] with at most 12", got, db.seen)
	}
}
