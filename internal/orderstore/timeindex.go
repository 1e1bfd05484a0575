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

// timeShards spreads all orders over several keys of the index by time: it is
// written once for an order, and never again, so these take eight times a
// partition's thousand orders a second.
const timeShards = 8

func timeShard(orderID string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(orderID)) // never fails, says hash.Hash
	return timeKey(h.Sum32() % timeShards)
}

func timeKey(n uint32) string { return "t#" + strconv.Itoa(int(n)) }

// listByTime is List by the index whose keys never change, so that no order is
// missed or there twice because its status changes meanwhile. The index has
// nothing but keys: what is selected is decided by the records, as the latest
// write has left them. unknown is why it is not known whether the index has all.
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
		step.Limit = min(2*step.Limit, 1000) // few are such, so there may be far to go
	}
}

// timeEntry is an order in the index by time.
type timeEntry struct {
	OrderID string `dynamodbav:"orderId"`
	Placed  string `dynamodbav:"placed"`
}

// keysByTime are up to q.Limit of the newest in q's time, newest first, and
// whether there are more.
func (s *Store) keysByTime(ctx context.Context, q Query) (keys []timeEntry, more bool, err error) {
	from, to, some := q.span()
	if !some {
		return nil, false, nil
	}
	// Each shard has about an eighth of them. From one that had more than were
	// read nothing is known of what is older than those.
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
				return fmt.Errorf("decode what index %s has: %w", indexByTime, err)
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

// getAll reads orders, in the order of their keys; those that are gone are left out.
func (s *Store) getAll(ctx context.Context, keys []timeEntry) ([]Record, error) {
	all := make([]Record, len(keys))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * maxReads)
	for i, k := range keys {
		g.Go(func() (err error) {
			if all[i], err = s.Get(gctx, k.OrderID); errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(all, func(r Record) bool { return r.OrderID == "" }), err
}

// hasByTime tells whether the index can be read. It is an error if there is none.
func (s *Store) hasByTime(ctx context.Context) (ready bool, err error) {
	_, err = s.db.Query(ctx, &dynamodb.QueryInput{
		TableName: &s.tables.Orders, IndexName: aws.String(indexByTime), Limit: aws.Int32(1),
		KeyConditionExpression: aws.String("timeShard = :k"), ExpressionAttributeValues: item{":k": str(timeShard(""))},
	})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "ValidationException" {
		if strings.Contains(api.ErrorMessage(), "backfilling") {
			return false, nil
		}
		return false, fmt.Errorf("table %s has no index %s, which lists need: add it with `ordersaga setup` and the same --table-prefix, or update the stack of deploy/cloudformation (%w)", s.tables.Orders, indexByTime, err)
	}
	return err == nil, wrap(err, "read index %s of table %s", indexByTime, s.tables.Orders)
}
