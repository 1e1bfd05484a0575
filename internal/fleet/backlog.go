package fleet

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
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// Backlog counts the orders that have not ended, by what they wait for. It is
// read from the orders table's status index.
type Backlog struct {
	// Live counts all orders that have not ended.
	Live int
	// Idle counts those that only wait for a person: until the person responds
	// or the wait times out, no worker can do anything for them.
	Idle int
	// Shipping counts those past the shipment request. Most of them wait for the
	// carrier; the index does not show which.
	Shipping int
	// Queued counts the PENDING ones that were accepted for the queue: most of
	// them wait there and have no saga yet.
	Queued int
}

// Work is the number from which a number of workers is derived. All orders
// that wait for the carrier, perhaps for days, count as one: one worker must run
// to receive its answers and to do the steps after them.
func (b Backlog) Work() int { return b.Live - b.Idle - b.Shipping + min(b.Shipping, 1) }

// notIdle selects the orders of a status whose wait for a person is over, and
// those that wait for no person.
const notIdle = "attribute_not_exists(" + orderstore.IdleUntil + ") OR " + orderstore.IdleUntil + " <= :at"

// Backlog counts orders by the status index. Orders whose wait ends at or
// before at count as work. The count is eventually consistent.
func (r *Registry) Backlog(ctx context.Context, at time.Time) (b Backlog, err error) {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, status := range order.OpenStatuses() {
		filter := ""
		switch status { //nolint:exhaustive // all others are simply live
		case order.StatusAwaitingApproval, order.StatusNeedsAttention:
			filter = notIdle
		case order.StatusPending:
			filter = "attribute_not_exists(queued)"
		case order.StatusPaid:
			filter = "attribute_not_exists(shipmentId)"
		}
		for _, key := range orderstore.StatusKeys(status) {
			g.Go(func() error {
				passed, all, err := r.count(gctx, key, filter, at)
				mu.Lock()
				defer mu.Unlock()
				b.Live += all
				switch status {
				case order.StatusPending:
					b.Queued += all - passed
				case order.StatusPaid:
					b.Shipping += all - passed
				default:
					b.Idle += all - passed
				}
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return Backlog{}, fmt.Errorf("count the orders that have not ended: %w", err)
	}
	return b, nil
}

// count counts the orders under one key of the status index, and those that
// pass the filter. An empty filter passes all.
func (r *Registry) count(ctx context.Context, key, filter string, at time.Time) (passed, all int, err error) {
	in := &dynamodb.QueryInput{
		TableName: &r.table, IndexName: aws.String(orderstore.StatusIndex), Select: types.SelectCount,
		KeyConditionExpression:    aws.String("statusShard = :k"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":k": str(key)},
	}
	if filter != "" {
		in.FilterExpression = &filter
	}
	if filter == notIdle { // DynamoDB rejects a value that no expression uses
		in.ExpressionAttributeValues[":at"] = str(at.UTC().Format(orderstore.TimeFormat))
	}
	pages := dynamodb.NewQueryPaginator(r.db, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return passed, all, err
		}
		passed, all = passed+int(page.Count), all+int(page.ScannedCount)
	}
	return passed, all, nil
}
