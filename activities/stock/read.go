package stock

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/batch"
)

// maxReads is how many orders one request reads: at 400 KiB each, the most that
// an item can have, they fit into the 16 MiB that an answer can have.
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
func readOrders(db DynamoDB, table string) *batch.Caller[string, item] {
	return &batch.Caller[string, item]{
		Max: maxReads,
		One: func(ctx context.Context, id string) (item, error) { return read(ctx, db, table, "orderId", id) },
		Many: func(ctx context.Context, ids []string) ([]batch.Answer[item], error) {
			asked := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
			done := map[string]bool{}
			for _, id := range ids {
				if !done[id] { // DynamoDB refuses a key that comes twice
					done[id] = true
					asked.Keys = append(asked.Keys, item{"orderId": str(id)})
				}
			}
			out, err := db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: asked}})
			if err != nil {
				return nil, err
			}
			found := map[string]item{}
			for _, it := range out.Responses[table] {
				found[orderID(it)] = it
			}
			for _, key := range out.UnprocessedKeys[table].Keys {
				done[orderID(key)] = false
			}
			answers := make([]batch.Answer[item], len(ids))
			for i, id := range ids {
				answers[i] = batch.Answer[item]{Out: found[id], Done: done[id]}
			}
			return answers, nil
		},
	}
}

func orderID(it item) string {
	if id, ok := it["orderId"].(*types.AttributeValueMemberS); ok {
		return id.Value
	}
	return ""
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
