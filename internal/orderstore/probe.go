package orderstore

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Items of the orders table that are no orders: their ids are none that an
// order can have, and no index has them.
const probeItem = "#probe"

// Probe writes to the orders table, to see whether that can be done.
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
