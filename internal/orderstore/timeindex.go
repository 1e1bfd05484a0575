package orderstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"
)

// timeShards is the number of keys over which the index by time spreads all orders. An
// order is written there once and never again, so eight keys take eight times the 1,000
// orders per second of one partition.
const timeShards = 8

func timeShard(orderID string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(orderID)) // never fails, see hash.Hash
	return timeKey(h.Sum32() % timeShards)
}

func timeKey(n uint32) string { return "t#" + strconv.Itoa(int(n)) }

// listByTime lists by the index by time, whose keys never change: no order is missed or
// listed twice because its status changes meanwhile. The index has nothing but keys, so
// the records decide what is selected, as the latest write left them. unknown is the
// error of finding out whether the index is complete.
func (s *Store) listByTime(ctx context.Context, q Query, unknown error) (p Page, err error) {
	if unknown != nil {
		return Page{}, unknown
	}
	for step := q; ; {
		keys, more, err := s.keysByTime(ctx, step)
		if err != nil {
			return Page{}, err
		}
		found, err := s.getAll(ctx, keys)
		if err != nil {
			return Page{}, err
		}
		for _, r := range found {
			if !q.Selects(r) || q.ExcludeShipping && r.ShipmentID != "" && !r.Refunding {
				continue
			}
			p.Records = append(p.Records, r)
			if len(p.Records) == q.Limit {
				p.Next = r.Placed
				return p, nil
			}
		}
		if !more {
			return p, nil
		}
		step.Cursor = keys[len(keys)-1].Placed
		step.Limit = min(2*step.Limit, 1000) // few orders match, so many may have to be read
	}
}

// timeEntry is an order in the index by time.
type timeEntry struct {
	OrderID string `dynamodbav:"orderId"`
	Placed  string `dynamodbav:"placed"`
}

// keysByTime returns up to q.Limit of the newest keys in the time range of q, newest
// first, and whether there are more.
func (s *Store) keysByTime(ctx context.Context, q Query) (keys []timeEntry, more bool, err error) {
	from, to, some := q.span()
	if !some {
		return nil, false, nil
	}
	// Each shard has about an eighth of them. If a shard has more than were read, its
	// older orders are unread, so nothing older than the horizon may be returned.
	var parts [timeShards][]timeEntry
	var horizons [timeShards]string
	g, gctx := errgroup.WithContext(ctx)
	for n := range uint32(timeShards) {
		g.Go(func() error {
			page, err := s.db.Query(gctx, &dynamodb.QueryInput{
				TableName: &s.tables.Orders, IndexName: aws.String(indexByTime), ScanIndexForward: aws.Bool(false),
				Limit:                     aws.Int32(int32(q.Limit/4 + 2)),
				KeyConditionExpression:    aws.String("timeShard = :k AND placed BETWEEN :from AND :to"),
				ExpressionAttributeValues: item{":k": str(timeKey(n)), ":from": str(from), ":to": str(to)},
			})
			if err != nil {
				return err
			}
			if err := attributevalue.UnmarshalListOfMaps(page.Items, &parts[n]); err != nil {
				return fmt.Errorf("decode keys of index %s: %w", indexByTime, err)
			}
			if len(page.LastEvaluatedKey) > 0 {
				horizons[n] = parts[n][len(parts[n])-1].Placed
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, false, err
	}
	horizon := slices.Max(horizons[:])
	keys = slices.DeleteFunc(slices.Concat(parts[:]...), func(k timeEntry) bool { return k.Placed < horizon || k.Placed == q.Cursor })
	slices.SortFunc(keys, func(a, b timeEntry) int { return cmp.Compare(b.Placed, a.Placed) })
	return keys[:min(len(keys), q.Limit)], horizon != "" || len(keys) > q.Limit, nil
}

// getAll reads the orders of keys, in their order. Orders that no longer exist are left
// out.
func (s *Store) getAll(ctx context.Context, keys []timeEntry) ([]Record, error) {
	all := make([]Record, len(keys))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * maxReads)
	for i, k := range keys {
		g.Go(func() (err error) {
			all[i], err = s.Get(gctx, k.OrderID)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(all, func(r Record) bool { return r.OrderID == "" }), err
}

// hasByTime reports whether the index by time can be read; false while DynamoDB builds
// it. It is an error if the table has no such index.
func (s *Store) hasByTime(ctx context.Context) (ready bool, err error) {
	_, err = s.db.Query(ctx, &dynamodb.QueryInput{
		TableName: &s.tables.Orders, IndexName: aws.String(indexByTime), Limit: aws.Int32(1),
		KeyConditionExpression: aws.String("timeShard = :k"), ExpressionAttributeValues: item{":k": str(timeShard(""))},
	})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "ValidationException" {
		if strings.Contains(api.ErrorMessage(), "backfilling") {
			return false, nil
		}
		return false, fmt.Errorf("table %s has no index %s, which lists need: add it with `ordersaga setup` and the same --table-prefix, "+
			"or update the stack of deploy/cloudformation (%w)", s.tables.Orders, indexByTime, err)
	}
	return err == nil, wrap(err, "read index %s of table %s", indexByTime, s.tables.Orders)
}
