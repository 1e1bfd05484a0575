package stock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/order"
)

const (
	indexByStatus   = "byStatus"
	indexByCustomer = "byCustomer"
)

// Query selects orders, newest first. Zero fields do not restrict.
type Query struct {
	Statuses   []order.Status
	CustomerID string
	SKU        string    // one of the lines'; reads all that the others select
	Here       bool      // leaves out what is with the carrier; reads it all the same
	Since      time.Time // accepted at or after
	Before     time.Time // accepted before
	Cursor     string    // Page.Next of the page before
	Limit      int       // 1 to 1,000
}

// Selects reports whether an order is one of those; Here and Limit aside.
func (q Query) Selects(r Record) bool {
	return (len(q.Statuses) == 0 || slices.Contains(q.Statuses, r.Status)) &&
		(q.CustomerID == "" || r.CustomerID == q.CustomerID) && (q.SKU == "" || r.has(q.SKU)) &&
		(q.Since.IsZero() || r.Placed >= q.Since.UTC().Format(timeFormat)) &&
		(q.Before.IsZero() || r.Placed <= q.Before.UTC().Format(timeFormat)) &&
		(q.Cursor == "" || r.Placed < q.Cursor)
}

// Page is one page of orders; an empty Next ends.
type Page struct {
	Records []Record
	Next    string
}

// List reads the orders index. It is eventually consistent, and stable while
// orders arrive: the cursor is a position in time.
func (s *Store) List(ctx context.Context, q Query) (Page, error) {
	if len(q.Statuses) == 0 {
		q.Statuses = order.Statuses()
	}
	var keys []indexKey
	if q.CustomerID != "" {
		keys = []indexKey{{indexByCustomer, "customerId", q.CustomerID}}
	} else {
		for _, st := range q.Statuses {
			for n := range uint32(statusShards) {
				keys = append(keys, indexKey{indexByStatus, "statusShard", shardKey(st, n)})
			}
		}
	}
	parts := make([][]Record, len(keys))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, k := range keys {
		g.Go(func() (err error) {
			parts[i], err = s.queryIndex(gctx, k, q)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return Page{}, fmt.Errorf("list orders: %w", err)
	}
	all := slices.Concat(parts...)
	slices.SortFunc(all, func(a, b Record) int { return cmp.Compare(b.Placed, a.Placed) })
	// An order that moves between two statuses while both are read shows twice.
	all = slices.CompactFunc(all, func(a, b Record) bool { return a.Placed == b.Placed })
	p := Page{Records: all[:min(q.Limit, len(all))]}
	if len(all) >= q.Limit {
		p.Next = p.Records[len(p.Records)-1].Placed
	}
	return p, nil
}

// CountByStatus counts orders by the index, for each of the given statuses. It
// is eventually consistent.
func (s *Store) CountByStatus(ctx context.Context, statuses ...order.Status) (map[order.Status]int, error) {
	counts, err := s.CountUpTo(ctx, math.MaxInt32, statuses...)
	if err != nil {
		return nil, err
	}
	ns := map[order.Status]int{}
	for st, c := range counts {
		ns[st] = c.N
	}
	return ns, nil
}

// Count is how many there are, or, with More, how many at least.
type Count struct {
	N    int  `json:"count"`
	More bool `json:"more,omitempty" doc:"There are more than that."`
}

// CountUpTo is CountByStatus that stops at about so many of each status: orders
// that have ended are kept for ever, and counting reads them.
func (s *Store) CountUpTo(ctx context.Context, most int, statuses ...order.Status) (map[order.Status]Count, error) {
	var mu sync.Mutex
	counts := map[order.Status]Count{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, st := range statuses {
		for n := range uint32(statusShards) {
			g.Go(func() error {
				in, err := s.countShard(gctx, shardKey(st, n), max(most/statusShards, 1))
				mu.Lock()
				defer mu.Unlock()
				counts[st] = Count{counts[st].N + in.N, counts[st].More || in.More}
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("count orders: %w", err)
	}
	return counts, nil
}

func (s *Store) countShard(ctx context.Context, key string, most int) (c Count, err error) {
	in := &dynamodb.QueryInput{
		TableName: &s.tables.Orders, IndexName: aws.String(indexByStatus), Select: types.SelectCount,
		KeyConditionExpression:    aws.String("statusShard = :k"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":k": str(key)},
	}
	for {
		in.Limit = aws.Int32(int32(most - c.N))
		page, err := s.db.Query(ctx, in)
		if err != nil {
			return c, err
		}
		c.N += int(page.Count)
		if in.ExclusiveStartKey = page.LastEvaluatedKey; len(in.ExclusiveStartKey) == 0 {
			return c, nil
		}
		if c.N >= most {
			c.More = true
			return c, nil
		}
	}
}

type indexKey struct{ index, attribute, value string }

// queryIndex reads up to q.Limit matching orders under one index key.
func (s *Store) queryIndex(ctx context.Context, k indexKey, q Query) ([]Record, error) {
	in := &dynamodb.QueryInput{
		TableName: &s.tables.Orders, IndexName: &k.index, ScanIndexForward: aws.Bool(false),
		Limit:                     aws.Int32(int32(q.Limit)),
		KeyConditionExpression:    aws.String("#k = :k AND placed BETWEEN :from AND :to"),
		ExpressionAttributeNames:  map[string]string{"#k": k.attribute},
		ExpressionAttributeValues: map[string]types.AttributeValue{":k": str(k.value)},
	}
	from, to := "0", "9999"
	if !q.Since.IsZero() {
		from = q.Since.UTC().Format(timeFormat)
	}
	if !q.Before.IsZero() {
		to = q.Before.UTC().Format(timeFormat)
	}
	if q.Cursor != "" {
		to = min(to, q.Cursor)
		in.Limit = aws.Int32(*in.Limit + 1) // BETWEEN includes the cursor itself
	}
	if to < from {
		return nil, nil // which BETWEEN refuses
	}
	in.ExpressionAttributeValues[":from"], in.ExpressionAttributeValues[":to"] = str(from), str(to)
	// Sieves, so that little is sent; what is read is the same.
	var sieves []string
	if q.SKU != "" { // the start of a line in the order's JSON
		sieves = append(sieves, "contains(content, :sku)")
		in.ExpressionAttributeValues[":sku"] = str(`"sku":` + strconv.Quote(q.SKU))
	}
	if q.Here {
		sieves = append(sieves, "(attribute_not_exists(shipmentId) OR attribute_exists(refunding))")
	}
	if len(sieves) > 0 {
		in.FilterExpression, in.Limit = aws.String(strings.Join(sieves, " AND ")), nil
	}
	var out []Record
	for {
		page, err := s.db.Query(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			r, err := decodeRecord(item)
			if err != nil {
				return nil, err
			}
			if r.Placed != q.Cursor && slices.Contains(q.Statuses, r.Status) && (q.SKU == "" || r.has(q.SKU)) {
				out = append(out, r)
			}
		}
		if len(out) >= q.Limit || len(page.LastEvaluatedKey) == 0 {
			return out[:min(len(out), q.Limit)], nil
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
}

// Walk gives f all orders in some statuses, up to limit at a time, in no order
// that means anything: pages of List are read from all of the index's shards
// and thrown away but for the newest, and here each is read once. Pages are f's
// to change. It is eventually consistent.
func (s *Store) Walk(ctx context.Context, statuses []order.Status, limit int, f func([]Record) error) error {
	return s.WalkSince(ctx, time.Time{}, statuses, limit, f)
}

// Scan pages through all orders as the table has them, in no order; an empty
// next ends. It finds those, too, that have fallen out of the indexes.
func (s *Store) Scan(ctx context.Context, cursor string, limit int) (records []Record, next string, err error) {
	items, next, err := s.scan(ctx, s.tables.Orders, "orderId", cursor, limit)
	if err != nil {
		return nil, "", err
	}
	for _, i := range items {
		r, err := decodeRecord(i)
		if err != nil {
			return nil, "", err
		}
		if !strings.HasPrefix(r.OrderID, "#") { // workers, and what is like them
			records = append(records, r)
		}
	}
	return records, next, nil
}

// Listed reports whether lists and walks find the order: it has its place in the
// index, if perhaps under another status.
func (r Record) Listed() bool {
	return r.Placed != "" && slices.ContainsFunc(order.Statuses(), func(st order.Status) bool { return r.StatusShard == statusShard(st, r.OrderID) })
}

// WalkSince is Walk for orders that were accepted at a time or later: others are
// not read.
func (s *Store) WalkSince(ctx context.Context, since time.Time, statuses []order.Status, limit int, f func([]Record) error) error {
	for _, st := range statuses {
		for n := range uint32(statusShards) {
			key := indexKey{indexByStatus, "statusShard", shardKey(st, n)}
			for q := (Query{Statuses: statuses, Since: since, Limit: limit}); ; { // one edited by hand may be under another status
				page, err := s.queryIndex(ctx, key, q)
				if err != nil {
					return fmt.Errorf("walk orders that are %s: %w", st, err)
				}
				last := len(page) < limit
				if !last {
					q.Cursor = page[limit-1].Placed // before f changes it
				}
				if err := f(page); err != nil {
					return err
				}
				if last {
					break
				}
			}
		}
	}
	return nil
}

func (r Record) has(sku string) bool {
	return slices.ContainsFunc(r.Lines, func(l order.Line) bool { return l.SKU == sku })
}

// Find says which tables are missing, or that it may not read them.
func (s *Store) Find(ctx context.Context) error {
	var missing []string
	for _, t := range [][2]string{{s.tables.Orders, "orderId"}, {s.tables.Reservations, "orderId"}, {s.tables.Stock, "sku"}} {
		_, err := s.getItem(ctx, t[0], t[1], "start")
		if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
			missing = append(missing, t[0])
		} else if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing in DynamoDB: tables %s; create them with `ordersaga setup` and the same --table-prefix, or the stack of deploy/cloudformation", strings.Join(missing, ", "))
	}
	return nil
}

// CreateTables makes the tables if they are missing, for development and
// tests; in a cluster CloudFormation does.
func (s *Store) CreateTables(ctx context.Context) error {
	key := func(name string, t types.KeyType) types.KeySchemaElement {
		return types.KeySchemaElement{AttributeName: &name, KeyType: t}
	}
	index := func(name, hash string) types.GlobalSecondaryIndex {
		return types.GlobalSecondaryIndex{
			IndexName: &name, Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
			KeySchema: []types.KeySchemaElement{key(hash, types.KeyTypeHash), key("placed", types.KeyTypeRange)},
		}
	}
	for _, in := range []*dynamodb.CreateTableInput{
		{TableName: &s.tables.Stock, KeySchema: []types.KeySchemaElement{key("sku", types.KeyTypeHash)}},
		{TableName: &s.tables.Reservations, KeySchema: []types.KeySchemaElement{key("orderId", types.KeyTypeHash)}},
		{TableName: &s.tables.Orders, KeySchema: []types.KeySchemaElement{key("orderId", types.KeyTypeHash)},
			GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{index(indexByStatus, "statusShard"), index(indexByCustomer, "customerId")}},
	} {
		in.BillingMode = types.BillingModePayPerRequest
		for _, a := range attributesOf(in) {
			in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: &a, AttributeType: types.ScalarAttributeTypeS})
		}
		_, err := s.db.CreateTable(ctx, in)
		if _, exists := errors.AsType[*types.ResourceInUseException](err); err != nil && !exists {
			return fmt.Errorf("create table %s: %w", *in.TableName, err)
		}
		if err := dynamodb.NewTableExistsWaiter(s.db).Wait(ctx, &dynamodb.DescribeTableInput{TableName: in.TableName}, time.Minute); err != nil {
			return fmt.Errorf("wait for table %s: %w", *in.TableName, err)
		}
	}
	return errors.Join(s.expire(ctx, s.tables.Reservations), s.expire(ctx, s.tables.Orders))
}

// expire lets items of a table expire by the attribute expiresAt. To set it
// again is an error, also where another setup did it since it was read.
func (s *Store) expire(ctx context.Context, table string) error {
	if on, err := s.expires(ctx, table); on || err != nil {
		return err
	}
	_, err := s.db.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName: &table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expiresAt"), Enabled: aws.Bool(true)},
	})
	if err == nil {
		return nil
	}
	on, readErr := s.expires(ctx, table)
	if on {
		return nil
	}
	return errors.Join(fmt.Errorf("set the time to live of table %s: %w", table, err), readErr)
}

// expires tells whether items of a table expire, or are about to.
func (s *Store) expires(ctx context.Context, table string) (bool, error) {
	is, err := s.db.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &table})
	if err != nil {
		return false, fmt.Errorf("read the time to live of table %s: %w", table, err)
	}
	status := is.TimeToLiveDescription.TimeToLiveStatus
	return status == types.TimeToLiveStatusEnabled || status == types.TimeToLiveStatusEnabling, nil
}

func attributesOf(in *dynamodb.CreateTableInput) []string {
	var names []string
	add := func(keys []types.KeySchemaElement) {
		for _, k := range keys {
			if !slices.Contains(names, *k.AttributeName) {
				names = append(names, *k.AttributeName)
			}
		}
	}
	add(in.KeySchema)
	for _, g := range in.GlobalSecondaryIndexes {
		add(g.KeySchema)
	}
	return names
}
