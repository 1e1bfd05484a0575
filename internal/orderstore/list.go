package orderstore

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/order"
)

const (
	indexByCustomer = "byCustomer"
	indexByTime     = "byTime"
)

// Query selects orders, newest first. Zero fields do not restrict, except Limit, which is
// required.
type Query struct {
	Statuses        []order.Status
	CustomerID      string
	SKU             string    // of one of the lines; reads all that the other fields select
	ExcludeShipping bool      // leaves out orders that await the carrier; reads them all the same
	Since           time.Time // accepted at or after
	Before          time.Time // accepted before
	Cursor          string    // Page.Next of the page before
	Limit           int       // 1 to 1,000
}

// Selects reports whether the order matches the query. It ignores ExcludeShipping and
// Limit.
func (q Query) Selects(r Record) bool {
	return (len(q.Statuses) == 0 || slices.Contains(q.Statuses, r.Status)) &&
		(q.CustomerID == "" || r.CustomerID == q.CustomerID) && (q.SKU == "" || r.has(q.SKU)) &&
		(q.Since.IsZero() || r.Placed >= q.Since.UTC().Format(TimeFormat)) &&
		(q.Before.IsZero() || r.Placed <= q.Before.UTC().Format(TimeFormat)) &&
		(q.Cursor == "" || r.Placed < q.Cursor)
}

// Page is one page of orders. An empty Next means that it is the last.
type Page struct {
	Records []Record
	Next    string
}

// List returns one page of orders. It reads the indexes, so it is eventually consistent.
// It is stable while orders arrive, because the cursor is a position in time. An order
// that matches all the time is listed once, whatever happens to it meanwhile: the orders
// of a customer are under one key, all orders are under keys that never change
// (listByTime), and those of some statuses are read in the order of readingOrder.
func (s *Store) List(ctx context.Context, q Query) (Page, error) {
	p, err := s.list(ctx, q)
	return p, wrap(err, "list orders")
}

func (s *Store) list(ctx context.Context, q Query) (Page, error) {
	every := !slices.ContainsFunc(order.Statuses(), func(st order.Status) bool { return !slices.Contains(q.Statuses, st) })
	if len(q.Statuses) == 0 || every {
		q.Statuses = order.Statuses()
		if q.CustomerID == "" {
			if dated, err := s.isDated(ctx); dated || err != nil {
				return s.listByTime(ctx, q, err)
			}
		}
	}
	var all []Record // what was read later comes first
	for _, keys := range q.keys() {
		parts := make([][]Record, len(keys))
		g, gctx := errgroup.WithContext(ctx)
		for i, k := range keys {
			g.Go(func() (err error) {
				parts[i], err = s.queryIndex(gctx, k, q)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return Page{}, err
		}
		all = slices.Concat(slices.Concat(parts...), all)
	}
	slices.SortStableFunc(all, func(a, b Record) int { return cmp.Compare(b.Placed, a.Placed) })
	all = slices.CompactFunc(all, func(a, b Record) bool { return a.Placed == b.Placed })
	p := Page{Records: all[:min(q.Limit, len(all))]}
	if len(all) >= q.Limit {
		p.Next = p.Records[len(p.Records)-1].Placed
	}
	return p, nil
}

// keys returns the index keys that have what q selects, in groups. Each group must be
// read before the next.
func (q Query) keys() (turns [][]indexKey) {
	if q.CustomerID != "" {
		return [][]indexKey{{{index: indexByCustomer, attribute: "customerId", value: q.CustomerID}}}
	}
	for _, st := range readingOrder(q.Statuses) {
		var keys []indexKey
		for _, key := range StatusKeys(st) {
			keys = append(keys, indexKey{index: StatusIndex, attribute: "statusShard", value: key})
		}
		turns = append(turns, keys)
	}
	return turns
}

// readingOrder returns the statuses in the order in which they must be read, so that an
// order that moves from one to another meanwhile is not missed: COMPLETED and
// NEEDS_ATTENTION first, from which an order can go back, then all in the order of an
// order's progress. An order that leaves a status before it is read is found in a later one. Two cases can be missed: an order that
// moves there and back within the milliseconds of one page, and one of which DynamoDB has
// deleted the old index entry and not yet written the new one.
func readingOrder(statuses []order.Status) []order.Status {
	turns := []order.Status{order.StatusCompleted, order.StatusNeedsAttention}
	if len(statuses) == 1 {
		turns = nil
	}
	return slices.DeleteFunc(append(turns, order.Statuses()...), func(st order.Status) bool { return !slices.Contains(statuses, st) })
}

// span returns the range of sort keys to read. It reports false for an empty range, which
// DynamoDB's BETWEEN rejects.
func (q Query) span() (from, to string, some bool) {
	from, to = "0", "9999"
	if !q.Since.IsZero() {
		from = q.Since.UTC().Format(TimeFormat)
	}
	if !q.Before.IsZero() {
		to = q.Before.UTC().Format(TimeFormat)
	}
	if q.Cursor != "" {
		to = min(to, q.Cursor)
	}
	return from, to, from <= to
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
	from, to, some := q.span()
	if !some {
		return nil, nil
	}
	if q.Cursor != "" {
		in.Limit = aws.Int32(*in.Limit + 1) // BETWEEN includes the cursor itself
	}
	in.ExpressionAttributeValues[":from"], in.ExpressionAttributeValues[":to"] = str(from), str(to)
	// Filters, so that DynamoDB returns little; it reads the same.
	var filters []string
	if q.SKU != "" { // the start of a line in the order's JSON
		filters = append(filters, "contains(content, :sku)")
		in.ExpressionAttributeValues[":sku"] = str(`"sku":` + strconv.Quote(q.SKU))
	}
	if q.ExcludeShipping {
		filters = append(filters, "(attribute_not_exists(shipmentId) OR attribute_exists(refunding))")
	}
	if len(filters) > 0 {
		in.FilterExpression, in.Limit = aws.String(strings.Join(filters, " AND ")), nil
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
