package orderstore

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// probeItem is the id of the item that Probe writes. An item whose id begins with # is
// not an order: no order can have such an id, and no order index has the item.
const probeItem = "#probe"

// Probe writes to the orders table, and returns an error if that is not possible.
func (s *Store) Probe(ctx context.Context) error {
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(probeItem)},
		UpdateExpression:          aws.String("SET probedAt = :at"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":at": str(s.stamp())},
	})
	if err != nil {
		return fmt.Errorf("DynamoDB takes no writes: %w", err)
	}
	return nil
}
