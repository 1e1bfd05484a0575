package orderstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/order"
)

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
