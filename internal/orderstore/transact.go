package orderstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/backoff"
	"github.com/ordersaga/ordersaga/internal/text"
)

// transact runs the items as one transaction. failed is nil when it went
// through, else it says which items' conditions did not hold. Conflicts with
// other transactions on a hot item are retried here, in place, with jitter:
// left to the queue they would feed the depth that the autoscaler reads.
func (s *Store) transact(ctx context.Context, what string, items []types.TransactWriteItem) (failed []bool, err error) {
	const attempts = 10
	for attempt := range attempts {
		_, err = s.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: items})
		if err == nil {
			return nil, nil
		}
		cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
		if !ok {
			return nil, fmt.Errorf("%s: %w", what, err) // the SDK has retried throttling already
		}
		var fault error
		if failed, fault = reasons(items, cancelled.CancellationReasons); slices.Contains(failed, true) {
			return failed, nil
		}
		if fault != nil {
			return nil, fmt.Errorf("%s: %w: %w", what, fault, err)
		}
		if err := backOff(ctx, attempt); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil, fmt.Errorf("%s: %d attempts: %w", what, attempts, err)
}

// reasons reads why a transaction was cancelled: which items' conditions did not
// hold, and the first fault that trying again cannot change. Nil means that all
// others were in the way of something else, or too much at the moment.
func reasons(items []types.TransactWriteItem, why []types.CancellationReason) (failed []bool, fault error) {
	failed = make([]bool, len(items))
	for i, r := range why[:min(len(why), len(items))] {
		switch code := aws.ToString(r.Code); code {
		case "", "None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
		case "ConditionalCheckFailed":
			failed[i] = true
		default:
			if fault == nil {
				fault = fmt.Errorf("item %d of %d (%s) is refused, and will be: %s: %s",
					i+1, len(items), named(items[i]), code, text.Cut(aws.ToString(r.Message), text.Max))
			}
		}
	}
	return failed, fault
}

// named says which item of a transaction it is.
func named(item types.TransactWriteItem) string {
	var table *string
	var key map[string]types.AttributeValue
	switch {
	case item.Update != nil:
		table, key = item.Update.TableName, item.Update.Key
	case item.Put != nil:
		table, key = item.Put.TableName, item.Put.Item
	case item.ConditionCheck != nil:
		table, key = item.ConditionCheck.TableName, item.ConditionCheck.Key
	case item.Delete != nil:
		table, key = item.Delete.TableName, item.Delete.Key
	}
	for _, name := range []string{"orderId", "sku", "eventId"} {
		if id, ok := key[name].(*types.AttributeValueMemberS); ok {
			return aws.ToString(table) + " " + name + " " + text.Cut(id.Value, text.MaxID)
		}
	}
	return aws.ToString(table)
}

// backOff waits before what is too much for DynamoDB at the moment is asked for
// again: up to 5 ms, then twice as long each time, up to half a second.
func backOff(ctx context.Context, attempt int) error {
	const base, longest = 5 * time.Millisecond, 500 * time.Millisecond
	return backoff.Sleep(ctx, rand.N(min(base<<min(attempt, 7), longest))) //nolint:gosec // jitter needs no secrecy
}
