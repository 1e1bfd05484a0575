package conformance

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// parameters returns behaviours of parameters that an emulator may accept and ignore.
func parameters() []behaviour {
	return []behaviour{
		{
			name: "DynamoDB: deletion protection", page: "APIReference/API_DeleteTable", check: deletionProtection,
			documented: "a protected table cannot be deleted until UpdateTable removes the protection",
		},
		{
			name: "DynamoDB: index, added later", page: "APIReference/API_UpdateTable", check: addIndexLater,
			documented: "it has the items that were stored before it",
		},
		{
			name: "DynamoDB: index, existing name", page: "APIReference/API_UpdateTable", check: addExistingIndex,
			documented: "ValidationException",
		},
		{
			name: "DynamoDB: unknown Select", page: "APIReference/API_Query", check: selectUnknown,
			documented: "ValidationException",
		},
		{
			name: "DynamoDB: Select with a projection", page: "APIReference/API_Query", check: selectWithProjection,
			documented: "with ProjectionExpression only SPECIFIC_ATTRIBUTES is valid",
		},
		{
			name: "DynamoDB: Select without a projection", page: "APIReference/API_Query", check: selectWithoutProjection,
			documented: "SPECIFIC_ATTRIBUTES requires a ProjectionExpression",
		},
		{
			name: "DynamoDB: Select of projected attributes", page: "APIReference/API_Query", check: selectOfTable,
			documented: "ALL_PROJECTED_ATTRIBUTES is valid only for an index",
		},
		{
			name: "DynamoDB: capacity of a transaction", page: "developerguide/transaction-apis", check: capacityOfTransaction,
			documented: "ReturnConsumedCapacity returns it for each table: two writes for each item",
		},
		{
			name: "DynamoDB: capacity of transactional reads", page: "developerguide/transaction-apis", check: capacityOfReads,
			documented: "ReturnConsumedCapacity returns it for each table: two reads for each item",
		},
		{
			name: "DynamoDB: capacity of batches", page: "APIReference/API_BatchWriteItem", check: capacityOfBatches,
			documented: "ReturnConsumedCapacity returns it for each table",
		},
	}
}

func deletionProtection(t *T) {
	tb := newTable(t)
	protect := func(on bool) {
		_, err := tb.c.UpdateTable(t.ctx, &dynamodb.UpdateTableInput{TableName: tb.name, DeletionProtectionEnabled: &on})
		t.noError("update table", err)
	}
	protect(true)
	d, err := tb.c.DescribeTable(t.ctx, &dynamodb.DescribeTableInput{TableName: tb.name})
	t.noError("describe", err)
	equal(t, "protected", aws.ToBool(d.Table.DeletionProtectionEnabled), true)
	_, err = tb.c.DeleteTable(t.ctx, &dynamodb.DeleteTableInput{TableName: tb.name})
	t.wantError("delete", err, "ValidationException", "")
	if err == nil {
		return
	}
	protect(false)
	_, err = tb.c.DeleteTable(t.ctx, &dynamodb.DeleteTableInput{TableName: tb.name})
	t.noError("delete the unprotected table", err)
}

// addIndex adds an index by the attribute at.
func (t dbTable) addIndex(name string) error {
	_, err := t.c.UpdateTable(t.ctx, &dynamodb.UpdateTableInput{
		TableName:            t.name,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("at"), AttributeType: types.ScalarAttributeTypeS}},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: &name, KeySchema: []types.KeySchemaElement{
				keyOf("at", types.KeyTypeHash),
			}, Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}}},
	})
	return err
}

func addIndexLater(t *T) {
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "at": "now", "more": "x"})
	t.noError("add index", tb.addIndex("byAt"))
	for active := false; !active; {
		d, err := tb.c.DescribeTable(t.ctx, &dynamodb.DescribeTableInput{TableName: tb.name})
		t.noError("describe", err)
		equal(t, "indexes", len(d.Table.GlobalSecondaryIndexes), 2)
		active = err != nil || !slices.ContainsFunc(d.Table.GlobalSecondaryIndexes, func(g types.GlobalSecondaryIndexDescription) bool {
			return g.IndexStatus == types.IndexStatusCreating
		})
	}
	out, err := tb.c.Query(t.ctx, &dynamodb.QueryInput{
		TableName: tb.name, IndexName: aws.String("byAt"), KeyConditionExpression: aws.String("#at = :at"),
		ExpressionAttributeNames: map[string]string{"#at": "at"}, ExpressionAttributeValues: tb.item(item{":at": "now"}),
	})
	t.noError("query", err)
	equal(t, "found", len(out.Items), 1)
	equal(t, "attributes", len(out.Items[0]), 3)
}

func addExistingIndex(t *T) {
	tb := newTable(t)
	t.wantError("add an index that is there", tb.addIndex("byHolder"), "ValidationException", "")
}

// queryWith queries one hash key with the given Select.
func (t dbTable) queryWith(kind types.Select, index, projection *string) error {
	_, err := t.c.Query(t.ctx, &dynamodb.QueryInput{
		TableName: t.name, IndexName: index, Select: kind, ProjectionExpression: projection,
		KeyConditionExpression: aws.String("pk = :pk"), ExpressionAttributeValues: t.item(item{":pk": "a"}),
	})
	return err
}

func selectUnknown(t *T) {
	t.wantError("query", newTable(t).queryWith("EVERYTHING", nil, nil), "ValidationException", "")
}

func selectWithProjection(t *T) {
	tb := newTable(t)
	show := aws.String("sk")
	t.noError("specific attributes", tb.queryWith(types.SelectSpecificAttributes, nil, show))
	t.wantError("all attributes", tb.queryWith(types.SelectAllAttributes, nil, show), "ValidationException", "ProjectionExpression")
	t.wantError("count", tb.queryWith(types.SelectCount, nil, show), "ValidationException", "ProjectionExpression")
}

func selectWithoutProjection(t *T) {
	t.wantError("query", newTable(t).queryWith(types.SelectSpecificAttributes, nil, nil), "ValidationException", "SPECIFIC_ATTRIBUTES")
}

func selectOfTable(t *T) {
	err := newTable(t).queryWith(types.SelectAllProjectedAttributes, nil, nil)
	t.wantError("query", err, "ValidationException", "ALL_PROJECTED_ATTRIBUTES")
}

// units returns the sum of the consumed capacity.
func units(all []types.ConsumedCapacity) float64 {
	sum := 0.0
	for _, c := range all {
		sum += aws.ToFloat64(c.CapacityUnits)
	}
	return sum
}

func capacityOfTransaction(t *T) {
	tb := newTable(t)
	in := &dynamodb.TransactWriteItemsInput{ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal}
	for n := range 3 {
		in.TransactItems = append(in.TransactItems, types.TransactWriteItem{Put: &types.Put{TableName: tb.name, Item: tb.item(key("a", n))}})
	}
	out, err := tb.c.TransactWriteItems(t.ctx, in)
	t.noError("transaction", err)
	equal(t, "units", units(out.ConsumedCapacity), 6)
}

func capacityOfReads(t *T) {
	tb := newTable(t)
	in := &dynamodb.TransactGetItemsInput{ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal}
	for n := range 3 {
		in.TransactItems = append(in.TransactItems, types.TransactGetItem{Get: &types.Get{TableName: tb.name, Key: tb.item(key("a", n))}})
	}
	out, err := tb.c.TransactGetItems(t.ctx, in)
	t.noError("transaction", err)
	equal(t, "units", units(out.ConsumedCapacity), 6)
}

func capacityOfBatches(t *T) {
	tb := newTable(t)
	var puts []types.WriteRequest
	var keys []values
	for n := range 3 {
		puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: tb.item(key("a", n))}})
		keys = append(keys, tb.item(key("a", n)))
	}
	w, err := tb.c.BatchWriteItem(t.ctx, &dynamodb.BatchWriteItemInput{
		RequestItems: map[string][]types.WriteRequest{*tb.name: puts}, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	})
	t.noError("write", err)
	equal(t, "written", units(w.ConsumedCapacity), 3)
	r, err := tb.c.BatchGetItem(t.ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{
			*tb.name: {Keys: keys, ConsistentRead: aws.Bool(true)},
		}, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	})
	t.noError("read", err)
	equal(t, "read", units(r.ConsumedCapacity), 3)
}
