package conformance

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"
)

func (t table) transact(token string, items ...types.TransactWriteItem) error {
	in := &dynamodb.TransactWriteItemsInput{TransactItems: items}
	if token != "" {
		in.ClientRequestToken = &token
	}
	_, err := t.c.TransactWriteItems(t.Context(), in)
	return err
}

func (t table) add(pk string, n int, condition string) types.TransactWriteItem {
	u := &types.Update{TableName: t.name, Key: t.item(key(pk, 1)), UpdateExpression: aws.String("SET n = n + :n"), ExpressionAttributeValues: t.item(item{":n": n})}
	if condition != "" {
		u.ConditionExpression = &condition
		u.ReturnValuesOnConditionCheckFailure = "ALL_OLD"
	}
	return types.TransactWriteItem{Update: u}
}

func TestDynamoTransactions(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "n": 10})
	tb.put(item{"pk": "b", "sk": 1, "n": 0})
	if err := tb.transact("", tb.add("a", -3, "n >= :n"), tb.add("b", 3, "")); err != nil {
		t.Fatal(err)
	}
	same(t, "a", tb.get(key("a", 1))["n"], 7.0)
	same(t, "b", tb.get(key("b", 1))["n"], 3.0)

	err := tb.transact("", tb.add("b", 1, ""), tb.add("a", 1, "n > :n AND n < n"),
		types.TransactWriteItem{Put: &types.Put{TableName: tb.name, Item: tb.item(key("new", 1))}},
		types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: tb.name, Key: tb.item(key("c", 1)), ConditionExpression: aws.String("attribute_exists(pk)")}})
	cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok || len(cancelled.CancellationReasons) != 4 {
		t.Fatalf("%v", err)
	}
	var codes []string
	for _, r := range cancelled.CancellationReasons {
		codes = append(codes, aws.ToString(r.Code))
	}
	same(t, "reasons", codes, []string{"None", "ConditionalCheckFailed", "None", "ConditionalCheckFailed"})
	same(t, "the item that did not meet its condition", tb.plain(cancelled.CancellationReasons[1].Item)["n"], 7.0)
	same(t, "nothing was written", tb.get(key("new", 1)), item(nil))
	same(t, "b", tb.get(key("b", 1))["n"], 3.0)

	wantAPI(t, "the same item twice", tb.transact("", tb.add("a", 1, ""), tb.add("a", 1, "")), "ValidationException", "multiple operations on one item")
	many := make([]types.TransactWriteItem, 101)
	for n := range many {
		many[n] = types.TransactWriteItem{Put: &types.Put{TableName: tb.name, Item: tb.item(key("many", n))}}
	}
	wantAPI(t, "101 items", tb.transact("", many...), "ValidationException", "")
	if err := tb.transact("", many[:100]...); err != nil {
		t.Errorf("100 items: %v", err)
	}
}

func TestDynamoRequestToken(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "n": 0})
	token := uuid.NewString()
	for range 3 {
		if err := tb.transact(token, tb.add("a", 1, "")); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "one token, one effect", tb.get(key("a", 1))["n"], 1.0)
	wantAPI(t, "same token, other content", tb.transact(token, tb.add("a", 2, "")), "IdempotentParameterMismatchException", "")
}

func TestDynamoTransactGet(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "n": 10, "s": "x"})
	get := func(pk, projection string) types.TransactGetItem {
		g := &types.Get{TableName: tb.name, Key: tb.item(key(pk, 1))}
		if projection != "" {
			g.ProjectionExpression = &projection
		}
		return types.TransactGetItem{Get: g}
	}
	out, err := tb.c.TransactGetItems(t.Context(), &dynamodb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{get("a", "s"), get("nope", "")}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "found", tb.plain(out.Responses[0].Item), item{"s": "x"})
	same(t, "not found", len(out.Responses[1].Item), 0)
}

// TestDynamoBadInput: AWS's own errors, for what users get wrong.
func TestDynamoBadInput(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	ctx := t.Context()
	tb.put(item{"pk": "a", "sk": 1, "n": 1, "s": "x"})
	put := func(v item) error {
		_, err := tb.c.PutItem(ctx, &dynamodb.PutItemInput{TableName: tb.name, Item: tb.item(v)})
		return err
	}
	update := func(expr, cond string, values item, attributeNames map[string]string) error {
		in := &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(key("a", 1)), UpdateExpression: &expr, ExpressionAttributeValues: tb.values(values), ExpressionAttributeNames: attributeNames}
		if cond != "" {
			in.ConditionExpression = &cond
		}
		_, err := tb.c.UpdateItem(ctx, in)
		return err
	}
	query := func(k string, values item) error {
		_, err := tb.c.Query(ctx, &dynamodb.QueryInput{TableName: tb.name, KeyConditionExpression: &k, ExpressionAttributeValues: tb.values(values)})
		return err
	}
	for what, c := range map[string]struct {
		err       error
		code, say string
	}{
		"no such table": {func() error {
			_, err := tb.c.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("no-such-table"), Key: tb.item(key("a", 1))})
			return err
		}(), "ResourceNotFoundException", ""},
		"table that exists": {func() error {
			_, err := tb.c.CreateTable(ctx, &dynamodb.CreateTableInput{TableName: tb.name, BillingMode: "PAY_PER_REQUEST",
				KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("x"), KeyType: "HASH"}},
				AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("x"), AttributeType: "S"}}})
			return err
		}(), "ResourceInUseException", ""},
		"no sort key":             {put(item{"pk": "a"}), "ValidationException", "Missing the key sk"},
		"wrong key type":          {put(item{"pk": "a", "sk": "1"}), "ValidationException", "Type mismatch for key sk"},
		"empty key":               {put(item{"pk": "", "sk": 1}), "ValidationException", "empty string"},
		"index key of other type": {put(item{"pk": "a", "sk": 1, "holder": 5}), "ValidationException", "holder"},
		"item too large":          {put(item{"pk": "a", "sk": 1, "s": strings.Repeat("x", 400<<10)}), "ValidationException", "size"},
		"syntax":                  {update("SET a = = :v", "", item{":v": 1}, nil), "ValidationException", "Syntax error"},
		"reserved word":           {update("SET status = :v", "", item{":v": 1}, nil), "ValidationException", "reserved keyword"},
		"value not defined":       {update("SET a = :v", "", nil, nil), "ValidationException", ":v"},
		"value not used":          {update("SET a = :v", "", item{":v": 1, ":w": 1}, nil), "ValidationException", ":w"},
		"name not defined":        {update("SET #a = :v", "", item{":v": 1}, nil), "ValidationException", "#a"},
		"name not used":           {update("SET a = :v", "", item{":v": 1}, map[string]string{"#x": "x"}), "ValidationException", "#x"},
		"same path twice":         {update("SET a = :v, a = :v", "", item{":v": 1}, nil), "ValidationException", "overlap"},
		"overlapping paths":       {update("SET a = :v, a.b = :v", "", item{":v": 1}, nil), "ValidationException", "overlap"},
		"key in update":           {update("SET pk = :v", "", item{":v": "b"}, nil), "ValidationException", "part of the key"},
		"adding to text":          {update("SET s = s + :v", "", item{":v": 1}, nil), "ValidationException", "type"},
		"adding to nothing":       {update("SET nope = nope + :v", "", item{":v": 1}, nil), "ValidationException", "does not exist"},
		"path into text":          {update("SET s.x = :v", "", item{":v": 1}, nil), "ValidationException", "document path"},
		"two SETs":                {update("SET a = :v SET b = :v", "", item{":v": 1}, nil), "ValidationException", ""},
		"unknown function":        {update("SET a = :v", "exists(a)", item{":v": 1}, nil), "ValidationException", "exists"},
		"BETWEEN backwards":       {update("SET a = :v", "n BETWEEN :b AND :a", item{":v": 1, ":a": 1, ":b": 2}, nil), "ValidationException", ""},
		"query without hash key":  {query("sk = :s", item{":s": 1}), "ValidationException", "pk"},
		"query by range of hash":  {query("pk > :p", item{":p": "a"}), "ValidationException", "key condition"},
		"query by other field":    {query("pk = :p AND n = :n", item{":p": "a", ":n": 1}), "ValidationException", "sk"},
	} {
		wantAPI(t, what, c.err, c.code, c.say)
	}
	same(t, "the item is as it was", tb.get(key("a", 1)), item{"pk": "a", "sk": 1.0, "n": 1.0, "s": "x"})
}

func TestDynamoTableLife(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	tb.put(key("a", 1))
	d, err := tb.c.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: tb.name})
	if err != nil || d.Table.TableStatus != "ACTIVE" || !strings.HasPrefix(*d.Table.TableArn, "arn:aws:dynamodb:us-east-1:") ||
		len(d.Table.GlobalSecondaryIndexes) != 1 || len(d.Table.KeySchema) != 2 {
		t.Errorf("%+v %v", d, err)
	}
	_, err = tb.c.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{TableName: tb.name,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)}})
	if err != nil {
		t.Fatal(err)
	}
	ttl, err := tb.c.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: tb.name})
	if err != nil || aws.ToString(ttl.TimeToLiveDescription.AttributeName) != "expires" {
		t.Errorf("%+v %v", ttl, err)
	}
	found := false
	pages := dynamodb.NewListTablesPaginator(tb.c, &dynamodb.ListTablesInput{Limit: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range page.TableNames {
			found = found || n == *tb.name
		}
	}
	if !found {
		t.Error("not listed")
	}
	if _, err := tb.c.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: tb.name}); err != nil {
		t.Fatal(err)
	}
	if err := dynamodb.NewTableNotExistsWaiter(tb.c).Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: tb.name}, time.Minute); err != nil {
		t.Error(err)
	}
}
