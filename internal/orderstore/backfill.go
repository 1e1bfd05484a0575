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

// datedItem is the id of the item which records that the index by time has all orders
// accepted before a moment, its datedAt. Like probeItem it is not an order. Until the
// item exists, lists of all orders read the status index.
const datedItem = "#all-by-time"

func (s *Store) isDated(ctx context.Context) (bool, error) {
	if s.dated.Load() {
		return true, nil
	}
	at, err := s.datedAt(ctx)
	s.dated.Store(!at.IsZero())
	return !at.IsZero(), err
}

// datedAt reads the moment; the zero time means that none is recorded.
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
		return time.Time{}, fmt.Errorf("item %s of table %s has no datedAt: delete the item, "+
			"and the next start of a worker creates it again", datedItem, s.tables.Orders)
	}
	at, err := time.Parse(TimeFormat, text.Value)
	return at, wrap(err, "read item %s of table %s", datedItem, s.tables.Orders)
}

func (s *Store) setDated(ctx context.Context, at time.Time) error {
	_, err := s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.tables.Orders, Item: item{"orderId": str(datedItem), "datedAt": str(at.UTC().Format(TimeFormat))},
	})
	return wrap(err, "record that index %s has all orders", indexByTime)
}

// keepDated advances datedAt, a day behind the clock, while this process finds every
// order indexed. So the next process does not have more to look through the longer this
// one runs.
func (s *Store) keepDated(ctx context.Context) error {
	at := s.now().UTC().Add(-24 * time.Hour).Format(TimeFormat)
	_, err := s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.tables.Orders, Item: item{"orderId": str(datedItem), "datedAt": str(at)},
		ConditionExpression: aws.String("datedAt < :at"), ExpressionAttributeValues: item{":at": str(at)},
	})
	if _, newer := errors.AsType[*types.ConditionalCheckFailedException](err); newer {
		return nil
	}
	return wrap(err, "record until when index %s has all orders", indexByTime)
}

// lookBack is how long before datedAt an order may claim to be accepted without having
// been seen then: the clocks of workers differ, and an index lags.
const lookBack = time.Hour

// BackfillTimeIndex adds orders that an older release accepted to the index by time, and
// returns how many there were. Lists use the index once a run has found none, because an
// old worker that still runs may accept orders after the first run. Each process looks at
// least once, because an older release may have been rolled back to. Every change of an
// order's status adds that order, too.
//
// The whole table, which only grows, is read until a run finds none. Later runs read what
// was accepted since then, or on the day before the last run.
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

// fillAll adds every order of the table that the index lacks.
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
			id, ok := found["orderId"].(*types.AttributeValueMemberS)
			if ok && !strings.HasPrefix(id.Value, "#") { // items of workers and the like; see probeItem
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

// fill adds orders to the index by time. It keeps their updatedAt, for nothing about them
// has changed.
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
