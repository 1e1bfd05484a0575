package conformance

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// What the parameters do that are easily taken and forgotten.
func parameters() []behaviour {
	return []behaviour{
		{"DynamoDB: deletion protection", "a protected table is not deleted, until UpdateTable takes the protection away", "APIReference/API_DeleteTable", deletionProtection},
		{"DynamoDB: index of UpdateTable", "it has what was there before it", "APIReference/API_UpdateTable", indexLater},
		{"DynamoDB: index twice", "ValidationException", "APIReference/API_UpdateTable", indexTwice},
		{"DynamoDB: unknown Select", "ValidationException", "APIReference/API_Query", selectUnknown},
		{"DynamoDB: Select with a projection", "only SPECIFIC_ATTRIBUTES goes with ProjectionExpression", "APIReference/API_Query", selectProjected},
		{"DynamoDB: Select without a projection", "SPECIFIC_ATTRIBUTES needs one", "APIReference/API_Query", selectNothing},
		{"DynamoDB: Select of projected attributes", "ALL_PROJECTED_ATTRIBUTES is for indexes", "APIReference/API_Query", selectOfTable},
		{"DynamoDB: capacity of a transaction", "ReturnConsumedCapacity tells it by table: two writes for each item", "developerguide/transaction-apis", capacityOfTransaction},
		{"DynamoDB: capacity of transactional reads", "two reads for each item", "developerguide/transaction-apis", capacityOfReads},
		{"DynamoDB: capacity of batches", "ReturnConsumedCapacity tells it by table", "APIReference/API_BatchWriteItem", capacityOfBatches},
	}
}

func deletionProtection(t *T) {
	tb := newTable(t)
	protect := func(on bool) {
		_, err := tb.c.UpdateTable(t.ctx, &dynamodb.UpdateTableInput{TableName: tb.name, DeletionProtectionEnabled: &on})
		t.must("update table", err)
	}
	protect(true)
	d, err := tb.c.DescribeTable(t.ctx, &dynamodb.DescribeTableInput{TableName: tb.name})
	t.must("describe", err)
	same(t, "protected", aws.ToBool(d.Table.DeletionProtectionEnabled), true)
	_, err = tb.c.DeleteTable(t.ctx, &dynamodb.DeleteTableInput{TableName: tb.name})
	t.refuses("delete", err, "ValidationException", "")
	if err == nil {
		return
	}
	protect(false)
	_, err = tb.c.DeleteTable(t.ctx, &dynamodb.DeleteTableInput{TableName: tb.name})
	t.must("delete what is not protected any more", err)
}

// addIndex asks for one by the attribute at.
func (t dbTable) addIndex(name string) error {
	_, err := t.c.UpdateTable(t.ctx, &dynamodb.UpdateTableInput{
		TableName:            t.name,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("at"), AttributeType: types.ScalarAttributeTypeS}},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: &name, KeySchema: []types.KeySchemaElement{keyOf("at", types.KeyTypeHash)}, Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}}},
	})
	return err
}

func indexLater(t *T) {
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "at": "now", "more": "x"})
	t.must("add index", tb.addIndex("byAt"))
	for active := false; !active; {
		d, err := tb.c.DescribeTable(t.ctx, &dynamodb.DescribeTableInput{TableName: tb.name})
		t.must("describe", err)
		same(t, "indexes", len(d.Table.GlobalSecondaryIndexes), 2)
		active = err != nil || !slices.ContainsFunc(d.Table.GlobalSecondaryIndexes, func(g types.GlobalSecondaryIndexDescription) bool {
			return g.IndexStatus == types.IndexStatusCreating
		})
	}
	out, err := tb.c.Query(t.ctx, &dynamodb.QueryInput{
		TableName: tb.name, IndexName: aws.String("byAt"), KeyConditionExpression: aws.String("#at = :at"),
		ExpressionAttributeNames: map[string]string{"#at": "at"}, ExpressionAttributeValues: tb.item(item{":at": "now"}),
	})
	t.must("query", err)
	same(t, "found", len(out.Items), 1)
	same(t, "attributes", len(out.Items[0]), 3)
}

func indexTwice(t *T) {
	tb := newTable(t)
	t.refuses("add an index that is there", tb.addIndex("byHolder"), "ValidationException", "")
}

// selecting queries what has one item, with a Select.
func (t dbTable) selecting(kind types.Select, index, projection *string) error {
	_, err := t.c.Query(t.ctx, &dynamodb.QueryInput{
		TableName: t.name, IndexName: index, Select: kind, ProjectionExpression: projection,
		KeyConditionExpression: aws.String("pk = :pk"), ExpressionAttributeValues: t.item(item{":pk": "a"}),
	})
	return err
}

func selectUnknown(t *T) {
	t.refuses("query", newTable(t).selecting("EVERYTHING", nil, nil), "ValidationException", "")
}

func selectProjected(t *T) {
	tb := newTable(t)
	show := aws.String("sk")
	t.must("specific attributes", tb.selecting(types.SelectSpecificAttributes, nil, show))
	t.refuses("all attributes", tb.selecting(types.SelectAllAttributes, nil, show), "ValidationException", "ProjectionExpression")
	t.refuses("count", tb.selecting(types.SelectCount, nil, show), "ValidationException", "ProjectionExpression")
}

func selectNothing(t *T) {
	t.refuses("query", newTable(t).selecting(types.SelectSpecificAttributes, nil, nil), "ValidationException", "SPECIFIC_ATTRIBUTES")
}

func selectOfTable(t *T) {
	t.refuses("query", newTable(t).selecting(types.SelectAllProjectedAttributes, nil, nil), "ValidationException", "ALL_PROJECTED_ATTRIBUTES")
}

// units are what was consumed of one table.
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
	t.must("transaction", err)
	same(t, "units", units(out.ConsumedCapacity), 6)
}

func capacityOfReads(t *T) {
	tb := newTable(t)
	in := &dynamodb.TransactGetItemsInput{ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal}
	for n := range 3 {
		in.TransactItems = append(in.TransactItems, types.TransactGetItem{Get: &types.Get{TableName: tb.name, Key: tb.item(key("a", n))}})
	}
	out, err := tb.c.TransactGetItems(t.ctx, in)
	t.must("transaction", err)
	same(t, "units", units(out.ConsumedCapacity), 6)
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
	t.must("write", err)
	same(t, "written", units(w.ConsumedCapacity), 3)
	r, err := tb.c.BatchGetItem(t.ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{*tb.name: {Keys: keys, ConsistentRead: aws.Bool(true)}}, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	})
	t.must("read", err)
	same(t, "read", units(r.ConsumedCapacity), 3)
}
