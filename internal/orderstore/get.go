package orderstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/coalesce"
)

// maxReads is the number of orders that one request reads, of the 100 allowed. At 400 KiB
// each, the maximum of an item, 40 fit into the 16 MiB of a response.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
const maxReads = 40

type item = map[string]types.AttributeValue

// Get reads one order as the latest write left it. The error is ErrNotFound without such
// an order. Concurrent calls share requests.
func (s *Store) Get(ctx context.Context, orderID string) (Record, error) {
	found, err := s.orders.Do(ctx, orderID)
	if err != nil {
		return Record{}, fmt.Errorf("order %s: read from table %s: %w", orderID, s.tables.Orders, err)
	}
	if len(found) == 0 {
		return Record{}, fmt.Errorf("order %s: %w", orderID, ErrNotFound)
	}
	return decodeRecord(found)
}

// readOrders returns a batcher that reads concurrently requested orders in one request.
func readOrders(db DynamoDB, table string) *coalesce.Batcher[string, item] {
	return &coalesce.Batcher[string, item]{
		Max:    maxReads,
		Single: func(ctx context.Context, id string) (item, error) { return read(ctx, db, table, "orderId", id) },
		Batch: func(ctx context.Context, ids []string) ([]coalesce.Result[item], error) {
			request := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
			for i, id := range ids {
				if !slices.Contains(ids[:i], id) { // DynamoDB rejects a repeated key
					request.Keys = append(request.Keys, item{"orderId": str(id)})
				}
			}
			found := make(map[string]item, len(ids))
			for attempt := 0; len(request.Keys) > 0; attempt++ {
				out, err := db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: request}},
					func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 }) // see coalesce.Batcher
				if err != nil {
					return nil, err
				}
				for _, it := range out.Responses[table] {
					if id, ok := it["orderId"].(*types.AttributeValueMemberS); ok {
						found[id.Value] = it
					}
				}
				// Too much for the table at the moment, or for one response. At least one
				// of them is always read, so this ends.
				request.Keys = out.UnprocessedKeys[table].Keys
				if len(request.Keys) > 0 {
					if err := backOff(ctx, attempt); err != nil {
						return nil, err
					}
				}
			}
			answers := make([]coalesce.Result[item], len(ids))
			for i, id := range ids {
				answers[i] = coalesce.Result[item]{Out: found[id], Done: true}
			}
			return answers, nil
		},
	}
}

// getItem reads an item as the latest write left it. The error is ErrNotFound without
// such an item.
func (s *Store) getItem(ctx context.Context, table, key, value string) (item, error) {
	found, err := read(ctx, s.db, table, key, value)
	if err != nil {
		return nil, fmt.Errorf("read from table %s: %w", table, err)
	}
	if len(found) == 0 {
		return nil, ErrNotFound
	}
	return found, nil
}

func read(ctx context.Context, db DynamoDB, table, key, value string) (item, error) {
	out, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, ConsistentRead: aws.Bool(true), Key: item{key: str(value)}})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

func (s *Store) scan(ctx context.Context, table, key, cursor string, limit int) ([]map[string]types.AttributeValue, string, error) {
	in := &dynamodb.ScanInput{TableName: &table, Limit: aws.Int32(int32(limit)), ConsistentRead: aws.Bool(true)}
	if cursor != "" {
		in.ExclusiveStartKey = map[string]types.AttributeValue{key: str(cursor)}
	}
	out, err := s.db.Scan(ctx, in)
	if err != nil {
		return nil, "", fmt.Errorf("scan table %s: %w", table, err)
	}
	var next string
	if last, ok := out.LastEvaluatedKey[key].(*types.AttributeValueMemberS); ok {
		next = last.Value
	}
	return out.Items, next, nil
}
