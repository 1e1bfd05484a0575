package orderstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/backoff"
	"github.com/ordersaga/ordersaga/internal/text"
)

// transact runs the items as one transaction. failed is nil if it succeeded; otherwise it
// has true for each item whose condition did not hold. Conflicts with other transactions
// on a hot item are retried here, with jitter: returned to the queue they would add to
// the depth that the autoscaler reads.
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
		failed, fault = reasons(items, cancelled.CancellationReasons)
		if slices.Contains(failed, true) {
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

// reasons reads why a transaction was cancelled: which items' conditions did not hold,
// and the first fault that a retry cannot change. A nil fault without failed items means
// conflicts or throttling.
func reasons(items []types.TransactWriteItem, why []types.CancellationReason) (failed []bool, fault error) {
	failed = make([]bool, len(items))
	for i, r := range why[:min(len(why), len(items))] {
		switch code := aws.ToString(r.Code); code {
		case "", "None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
		case "ConditionalCheckFailed":
			failed[i] = true
		default:
			if fault == nil {
				fault = fmt.Errorf("DynamoDB rejects item %d of %d (%s), and a retry would not help: %s: %s",
					i+1, len(items), itemName(items[i]), code, text.Cut(aws.ToString(r.Message), text.Max))
			}
		}
	}
	return failed, fault
}

// itemName describes an item of a transaction by its table and key.
func itemName(item types.TransactWriteItem) string {
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
	return strings.TrimSpace(aws.ToString(table) + " " + keyOf(key))
}

// keyOf describes an item by its key's name and value, as in "orderId o-1".
func keyOf(i item) string {
	for _, name := range []string{"orderId", "sku", "eventId"} {
		if id, ok := i[name].(*types.AttributeValueMemberS); ok {
			return name + " " + text.Cut(id.Value, text.MaxID)
		}
	}
	return ""
}

// backOff waits before a retry of a conflicting or throttled request: up to 5 ms, doubled
// with each attempt, at most half a second.
func backOff(ctx context.Context, attempt int) error {
	const base, longest = 5 * time.Millisecond, 500 * time.Millisecond
	return backoff.Sleep(ctx, rand.N(min(base<<min(attempt, 7), longest))) //nolint:gosec // jitter needs no secrecy
}
