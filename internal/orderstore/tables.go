package orderstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Find checks that the tables and the index exist and can be read. Its error names the
// missing ones.
func (s *Store) Find(ctx context.Context) error {
	var missing []string
	for _, t := range [][2]string{{s.tables.Orders, "orderId"}, {s.tables.Reservations, "orderId"}, {s.tables.Stock, "sku"}} {
		_, err := s.getItem(ctx, t[0], t[1], "start")
		if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
			missing = append(missing, t[0])
		} else if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing in DynamoDB: tables %s; create them with `ordersaga setup` and the same --table-prefix, or "+
			"the stack of deploy/cloudformation", strings.Join(missing, ", "))
	}
	_, err := s.hasByTime(ctx) // while DynamoDB builds it, lists use the status index
	return err
}

// CreateTables creates the tables that are missing, for development and tests; in a
// cluster CloudFormation does. To a table of an older release it adds the missing index.
// DynamoDB needs minutes for that; CreateTables does not wait.
func (s *Store) CreateTables(ctx context.Context) error {
	for _, in := range []*dynamodb.CreateTableInput{
		{TableName: &s.tables.Stock, KeySchema: keySchema("sku", "")},
		{TableName: &s.tables.Reservations, KeySchema: keySchema("orderId", "")},
		{TableName: &s.tables.Orders, KeySchema: keySchema("orderId", ""), GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{
			index(StatusIndex, "statusShard", types.ProjectionTypeAll),
			index(indexByCustomer, "customerId", types.ProjectionTypeAll),
			index(indexByTime, "timeShard", types.ProjectionTypeKeysOnly),
		}},
	} {
		in.BillingMode = types.BillingModePayPerRequest
		in.AttributeDefinitions = attributesOf(in)
		_, err := s.db.CreateTable(ctx, in)
		_, exists := errors.AsType[*types.ResourceInUseException](err)
		if err != nil && !exists {
			return fmt.Errorf("create table %s: %w", *in.TableName, err)
		}
		if err := dynamodb.NewTableExistsWaiter(s.db).Wait(ctx, &dynamodb.DescribeTableInput{TableName: in.TableName}, time.Minute); err != nil {
			return fmt.Errorf("wait for table %s: %w", *in.TableName, err)
		}
		if in.TableName == &s.tables.Orders && !exists {
			if err := s.setDated(ctx, s.now()); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(s.expire(ctx, s.tables.Reservations), s.expire(ctx, s.tables.Orders)); err != nil {
		return err
	}
	return s.addByTime(ctx)
}

// addByTime adds the index by time to the orders table of an older release.
func (s *Store) addByTime(ctx context.Context) error {
	has := func() (bool, error) {
		t, err := s.db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.tables.Orders})
		if err != nil {
			return false, fmt.Errorf("look for the indexes of table %s: %w", s.tables.Orders, err)
		}
		isByTime := func(g types.GlobalSecondaryIndexDescription) bool { return *g.IndexName == indexByTime }
		return slices.ContainsFunc(t.Table.GlobalSecondaryIndexes, isByTime), nil
	}
	if there, err := has(); there || err != nil {
		return err
	}
	ix := index(indexByTime, "timeShard", types.ProjectionTypeKeysOnly)
	_, err := s.db.UpdateTable(ctx, &dynamodb.UpdateTableInput{
		TableName:            &s.tables.Orders,
		AttributeDefinitions: attributesOf(&dynamodb.CreateTableInput{KeySchema: ix.KeySchema}),
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: ix.IndexName, KeySchema: ix.KeySchema, Projection: ix.Projection,
		}}},
	})
	if err == nil {
		return nil
	}
	there, readErr := has() // another setup has added it meanwhile
	if there {
		return nil
	}
	return errors.Join(fmt.Errorf("add index %s to table %s: %w", indexByTime, s.tables.Orders, err), readErr)
}

// index returns an index that sorts by placed. has is what it copies of an order.
func index(name, hash string, has types.ProjectionType) types.GlobalSecondaryIndex {
	return types.GlobalSecondaryIndex{
		IndexName: &name, Projection: &types.Projection{ProjectionType: has}, KeySchema: keySchema(hash, "placed"),
	}
}

// keySchema returns the keys of a table or an index. An empty rng means no sort key.
func keySchema(hash, rng string) []types.KeySchemaElement {
	keys := []types.KeySchemaElement{{AttributeName: &hash, KeyType: types.KeyTypeHash}}
	if rng != "" {
		keys = append(keys, types.KeySchemaElement{AttributeName: &rng, KeyType: types.KeyTypeRange})
	}
	return keys
}

// expire makes items of a table expire by the attribute expiresAt. DynamoDB rejects
// setting it again, also if another setup did so since it was read.
func (s *Store) expire(ctx context.Context, table string) error {
	if on, err := s.expires(ctx, table); on || err != nil {
		return err
	}
	_, err := s.db.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName:               &table,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expiresAt"), Enabled: aws.Bool(true)},
	})
	if err == nil {
		return nil
	}
	on, readErr := s.expires(ctx, table)
	if on {
		return nil
	}
	return errors.Join(fmt.Errorf("set the time to live of table %s: %w", table, err), readErr)
}

// expires reports whether items of a table expire, or will shortly.
func (s *Store) expires(ctx context.Context, table string) (bool, error) {
	is, err := s.db.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &table})
	if err != nil {
		return false, fmt.Errorf("read the time to live of table %s: %w", table, err)
	}
	status := is.TimeToLiveDescription.TimeToLiveStatus
	return status == types.TimeToLiveStatusEnabled || status == types.TimeToLiveStatusEnabling, nil
}

// attributesOf returns the attributes of a table's keys. All are strings.
func attributesOf(in *dynamodb.CreateTableInput) (all []types.AttributeDefinition) {
	keys := slices.Clone(in.KeySchema)
	for _, g := range in.GlobalSecondaryIndexes {
		keys = append(keys, g.KeySchema...)
	}
	for _, k := range keys {
		if !slices.ContainsFunc(all, func(a types.AttributeDefinition) bool { return *a.AttributeName == *k.AttributeName }) {
			all = append(all, types.AttributeDefinition{AttributeName: k.AttributeName, AttributeType: types.ScalarAttributeTypeS})
		}
	}
	return all
}
