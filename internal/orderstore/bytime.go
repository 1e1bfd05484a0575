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
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/order"
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

// datedItem says that the index by time has all orders that were accepted before
// a moment, its datedAt; like probeItem. Until it is there, lists of all orders
// read the index by status.
const datedItem = "#all-by-time"

func (s *Store) isDated(ctx context.Context) (bool, error) {
	if s.dated.Load() {
		return true, nil
	}
	at, err := s.datedAt(ctx)
	s.dated.Store(!at.IsZero())
	return !at.IsZero(), err
}

// datedAt is the moment; zero: there is none yet.
func (s *Store) datedAt(ctx context.Context) (time.Time, error) {
	found, err := s.getItem(ctx, s.tables.Orders, "orderId", datedItem)
	if errors.Is(err, ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	text, _ := found["datedAt"].(*types.AttributeValueMemberS)
	if text == nil {
		return time.Time{}, fmt.Errorf("item %s of table %s has no datedAt: delete it, and it is made again", datedItem, s.tables.Orders)
	}
	at, err := time.Parse(TimeFormat, text.Value)
	return at, wrap(err, "read item %s of table %s", datedItem, s.tables.Orders)
}

func (s *Store) setDated(ctx context.Context, at time.Time) error {
	_, err := s.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.tables.Orders, Item: item{"orderId": str(datedItem), "datedAt": str(at.UTC().Format(TimeFormat))}})
	return wrap(err, "note that index %s has all orders", indexByTime)
}

// keepDated lets datedAt follow a process that has found everything in its place,
// a day behind: what the next one looks through does not grow while this one runs.
func (s *Store) keepDated(ctx context.Context) error {
	at := s.now().UTC().Add(-24 * time.Hour).Format(TimeFormat)
	_, err := s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.tables.Orders, Item: item{"orderId": str(datedItem), "datedAt": str(at)},
		ConditionExpression: aws.String("datedAt < :at"), ExpressionAttributeValues: item{":at": str(at)},
	})
	if _, newer := errors.AsType[*types.ConditionalCheckFailedException](err); newer {
		return nil
	}
	return wrap(err, "note until when index %s has all orders", indexByTime)
}

// lookBack is how long before datedAt an order may say that it was accepted and
// not have been seen then: workers' clocks differ, and an index is behind.
const lookBack = time.Hour

// BackfillTimeIndex gives orders that a release before this one accepted their place in
// the index by time, and says how many there were. Lists use that index once a
// run has found none: an old worker that is still there may accept some after
// the first run. The store looks until a run has found none, so each process
// looks once at least: an older release may have been rolled back to. Every
// change of an order's status does the same for that one.
//
// The whole table, which grows for ever, is read only until a run has found none;
// afterwards what was accepted since then, or on the day before the last run.
func (s *Store) BackfillTimeIndex(ctx context.Context) (n int, err error) {
	if s.filled.Load() {
		return 0, s.keepDated(ctx)
	}
	began := s.now()
	since, err := s.datedAt(ctx)
	if err != nil {
		return 0, err
	}
	if since.IsZero() {
		n, err = s.fillAll(ctx)
	} else {
		err = s.WalkSince(ctx, since.Add(-lookBack), order.Statuses(), 1000, func(page []Record) error {
			var ids []string
			for _, r := range page {
				if r.TimeShard == "" {
					ids = append(ids, r.OrderID)
				}
			}
			n += len(ids)
			return s.fill(ctx, ids)
		})
	}
	if n > 0 || err != nil {
		return n, err
	}
	if ready, err := s.hasByTime(ctx); err != nil || !ready {
		return 0, err
	}
	if err := s.setDated(ctx, began); err != nil {
		return 0, err
	}
	s.filled.Store(true)
	return 0, nil
}

// fillAll reads the whole table.
func (s *Store) fillAll(ctx context.Context) (n int, err error) {
	pages := dynamodb.NewScanPaginator(s.db, &dynamodb.ScanInput{
		TableName: &s.tables.Orders, ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String("orderId"),
		FilterExpression: aws.String("attribute_not_exists(timeShard)"),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, fmt.Errorf("look for orders that index %s lacks: %w", indexByTime, err)
		}
		var ids []string
		for _, found := range page.Items {
			if id, ok := found["orderId"].(*types.AttributeValueMemberS); ok && !strings.HasPrefix(id.Value, "#") { // workers, and what is like them
				ids = append(ids, id.Value)
			}
		}
		n += len(ids)
		if err := s.fill(ctx, ids); err != nil {
			return n, err
		}
	}
	return n, nil
}

// fill gives orders their place in the index by time, which is no news of them:
// updatedAt stays.
func (s *Store) fill(ctx context.Context, ids []string) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, id := range ids {
		g.Go(func() error {
			err := s.update(gctx, &types.Update{
				TableName: &s.tables.Orders, Key: item{"orderId": str(id)},
				UpdateExpression: aws.String("SET timeShard = :time"), ConditionExpression: aws.String("attribute_exists(orderId)"),
				ExpressionAttributeValues: item{":time": str(timeShard(id))},
			})
			if errors.Is(err, ErrFinished) {
				return nil // it is gone
			}
			return wrap(err, "add order %s to index %s", id, indexByTime)
		})
	}
	return g.Wait()
}
