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

// maxReads is how many orders one request reads, of the 100 that it may: at
// 400 KiB each, the most that an item can have, they fit into the 16 MiB that an
// answer can have.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
const maxReads = 40

type item = map[string]types.AttributeValue

// Get reads one order as the latest write has left it, or ErrNotFound.
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

// readOrders reads what is asked for at the same time in batches.
func readOrders(db DynamoDB, table string) *coalesce.Batcher[string, item] {
	return &coalesce.Batcher[string, item]{
		Max:    maxReads,
		Single: func(ctx context.Context, id string) (item, error) { return read(ctx, db, table, "orderId", id) },
		Batch: func(ctx context.Context, ids []string) ([]coalesce.Result[item], error) {
			asked := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
			for i, id := range ids {
				if !slices.Contains(ids[:i], id) { // DynamoDB refuses a key that comes twice
					asked.Keys = append(asked.Keys, item{"orderId": str(id)})
				}
			}
			found := make(map[string]item, len(ids))
			for attempt := 0; len(asked.Keys) > 0; attempt++ {
				out, err := db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: asked}},
					func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 }) // see batch.Caller
				if err != nil {
					return nil, err
				}
				for _, it := range out.Responses[table] {
					if id, ok := it["orderId"].(*types.AttributeValueMemberS); ok {
						found[id.Value] = it
					}
				}
				// It is too much for the table at the moment, or for an answer. One
				// of them at least is always done, so this ends.
				asked.Keys = out.UnprocessedKeys[table].Keys
				if len(asked.Keys) > 0 {
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

// getItem reads an item as the latest write has left it, or ErrNotFound.
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
