package orderstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Load is how much there is to do for workers, by the orders index.
type Load struct {
	Live int // orders that have not ended
	// Asleep is how many of those wait for a person, and nothing else: until
	// somebody answers, or the time is up, no worker could do anything for them.
	Asleep int
	// Shipping is how many are past the shipment request. Most of them wait for
	// the carrier; the index does not tell which.
	Shipping int
	// Queued is how many are PENDING and were accepted for the queue: most of
	// them wait there, and have no saga yet.
	Queued int
}

// Work is what a number of workers is to be derived from. Orders that are with
// the carrier, perhaps for days, count as one in all: a worker has to be there
// for its answers, and for the steps after them.
func (l Load) Work() int { return l.Live - l.Asleep - l.Shipping + min(l.Shipping, 1) }

const (
	// asleepUntil is set on an order whose saga waits for a person only, to when
	// it goes on without one. It is a hint for Load and not for the saga: where
	// it is missing, the saga counts as work.
	asleepUntil = "asleepUntil"
	forEver     = "9999" // after any time

	awake = "attribute_not_exists(asleepUntil) OR asleepUntil <= :at"
)

// Load counts orders by the index; those that sleep until at or before it count
// as work. It is eventually consistent.
func (s *Store) Load(ctx context.Context, at time.Time) (l Load, err error) {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, st := range liveStatuses {
		sieve := ""
		switch st { //nolint:exhaustive // all others are simply live
		case order.StatusAwaitingApproval, order.StatusNeedsAttention:
			sieve = awake
		case order.StatusPending:
			sieve = "attribute_not_exists(queued)"
		case order.StatusPaid:
			sieve = "attribute_not_exists(shipmentId)"
		}
		for n := range uint32(statusShards) {
			g.Go(func() error {
				passed, all, err := s.sieveShard(gctx, shardKey(st, n), sieve, at)
				mu.Lock()
				defer mu.Unlock()
				l.Live += all
				switch st {
				case order.StatusPending:
					l.Queued += all - passed
				case order.StatusPaid:
					l.Shipping += all - passed
				default:
					l.Asleep += all - passed
				}
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return Load{}, fmt.Errorf("count orders: %w", err)
	}
	return l, nil
}

// sieveShard counts the orders under one key of the status index, and those
// that a filter lets through ("" lets all).
func (s *Store) sieveShard(ctx context.Context, key, filter string, at time.Time) (passed, all int, err error) {
	in := &dynamodb.QueryInput{
		TableName: &s.tables.Orders, IndexName: aws.String(indexByStatus), Select: types.SelectCount,
		KeyConditionExpression:    aws.String("statusShard = :k"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":k": str(key)},
	}
	if filter != "" {
		in.FilterExpression = &filter
	}
	if filter == awake { // DynamoDB refuses values that nothing uses
		in.ExpressionAttributeValues[":at"] = str(at.UTC().Format(timeFormat))
	}
	pages := dynamodb.NewQueryPaginator(s.db, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return passed, all, err
		}
		passed, all = passed+int(page.Count), all+int(page.ScannedCount)
	}
	return passed, all, nil
}
