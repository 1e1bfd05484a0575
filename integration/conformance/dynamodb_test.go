package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func tables() []behaviour {
	all := []behaviour{
		{
			name: "DynamoDB: items", page: "developerguide/HowItWorks.NamingRulesDataTypes", check: items,
			documented: "all types are stored, including empty strings, empty lists and null",
		},
		{
			name: "DynamoDB: sets", page: "developerguide/HowItWorks.NamingRulesDataTypes", check: sets,
			documented: "a set has each member once, and numbers in their shortest form",
		},
		{
			name: "DynamoDB: empty set", page: "developerguide/HowItWorks.NamingRulesDataTypes", check: emptySet,
			documented: "a set has at least one member",
		},
		{
			name: "DynamoDB: numbers, canonical form", page: "developerguide/HowItWorks.NamingRulesDataTypes", check: numbers,
			documented: "leading and trailing zeros are removed",
		},
		{
			name: "DynamoDB: numbers, precision", page: "developerguide/HowItWorks.NamingRulesDataTypes", check: precision,
			documented: "38 digits are stored",
		},
		{
			name: "DynamoDB: numbers, arithmetic", page: "developerguide/HowItWorks.NamingRulesDataTypes", check: arithmetic,
			documented: "arithmetic is exact to 38 digits",
		},
		{
			name: "DynamoDB: numbers, invalid", page: "developerguide/HowItWorks.NamingRulesDataTypes", check: invalidNumbers,
			documented: "more than 38 digits, a magnitude beyond 1E126, or not a number: ValidationException",
		},
		{
			name: "DynamoDB: put and delete, old item", page: "APIReference/API_PutItem", check: allOld,
			documented: "ReturnValues ALL_OLD returns it",
		},
		{
			name: "DynamoDB: delete, missing item", page: "APIReference/API_DeleteItem", check: deleteMissingItem,
			documented: "the delete succeeds",
		},
		{
			name: "DynamoDB: consistent read", page: "developerguide/HowItWorks.ReadConsistency", check: consistentRead,
			documented: "the result includes every earlier write",
		},
		{
			name: "DynamoDB: consistent read of an index", page: "developerguide/HowItWorks.ReadConsistency", check: consistentIndex,
			documented: "global secondary indexes do not support it: ValidationException",
		},
		{
			name: "DynamoDB: query, key conditions", page: "developerguide/Query.KeyConditionExpressions", check: queryTable,
			documented: "=, <, <=, >, >=, BETWEEN and begins_with on the sort key, ascending and descending, in pages",
		},
		{
			name: "DynamoDB: query, index", page: "developerguide/GSI", check: queryIndex,
			documented: "the same on a global secondary index",
		},
		{
			name: "DynamoDB: query, filter", page: "developerguide/Query.FilterExpression", check: queryFilter,
			documented: "items that the filter excludes count towards Limit",
		},
		{
			name: "DynamoDB: query, LastEvaluatedKey", page: "developerguide/Query.Pagination", check: lastEvaluatedKey,
			documented: "it has the keys of the table and of the index; the next page starts after it, even if its item was deleted",
		},
		{
			name: "DynamoDB: query, pages of 1 MB", page: "developerguide/Query.Pagination", check: pagesOf1MB,
			documented: "without a Limit a page ends after 1 MB, also for Select COUNT",
		},
		{
			name: "DynamoDB: query, count", page: "developerguide/Query.Other", check: queryCount,
			documented: "Select COUNT returns no items",
		},
		{
			name: "DynamoDB: query, projection", page: "developerguide/Expressions.ProjectionExpressions", check: projection,
			documented: "ProjectionExpression returns the named attributes",
		},
		{
			name: "DynamoDB: scan", page: "developerguide/Scan", check: scan,
			documented: "all items, in pages of Limit items before the filter",
		},
		{
			name: "DynamoDB: scan, key of no item", page: "developerguide/Scan", check: scanFromKeyOfNoItem,
			documented: "the scan continues after it",
		},
		{
			name: "DynamoDB: index, changed key", page: "developerguide/GSI", check: indexKeyChanges,
			documented: "an update of the index's key moves the item in the index",
		},
		{
			name: "DynamoDB: index, missing key", page: "developerguide/GSI", check: sparseIndex,
			documented: "an item without the index's key is not in the index",
		},
		{
			name: "DynamoDB: batches", page: "APIReference/API_BatchWriteItem", check: batches,
			documented: "a batch writes up to 25 items, and reads those that exist",
		},
		{
			name: "DynamoDB: batch, 26 writes", page: "APIReference/API_BatchWriteItem", check: batchOf26,
			documented: "ValidationException",
		},
		{
			name: "DynamoDB: batch, duplicate item", page: "APIReference/API_BatchWriteItem", check: batchDuplicateItem,
			documented: "ValidationException",
		},
		{
			name: "DynamoDB: item size", page: "developerguide/Constraints", check: itemSize,
			documented: "400 KB, including the names of attributes, are accepted; one byte more is rejected",
		},
		{
			name: "DynamoDB: table, create to delete", page: "APIReference/API_DescribeTable", check: tableLifecycle,
			documented: "a table is described as ACTIVE with its keys and index, listed and deleted",
		},
		{
			name: "DynamoDB: table, existing name", page: "APIReference/API_CreateTable", check: createExistingTable,
			documented: "ResourceInUseException",
		},
		{
			name: "DynamoDB: unknown table", page: "APIReference/CommonErrors", check: unknownTable,
			documented: "ResourceNotFoundException from every operation",
		},
		{
			name: "DynamoDB: unknown index", page: "APIReference/API_Query", check: unknownIndex,
			documented: "ValidationException",
		},
		{
			name: "DynamoDB: time to live", page: "APIReference/API_UpdateTimeToLive", check: timeToLive,
			documented: "it is enabled and described",
		},
		{
			name: "DynamoDB: time to live, already enabled", page: "APIReference/API_UpdateTimeToLive", check: timeToLiveAlreadyEnabled,
			documented: "ValidationException",
		},
	}
	return all
}

// dbTable is a table under test with the key pk (string) and sk (number), and an index by
// holder and at. Methods that begin with "try" return the error; the others stop the check.
type dbTable struct {
	*T

	c    *dynamodb.Client
	name *string
}

type item = map[string]any

type values = map[string]types.AttributeValue

func keyOf(name string, k types.KeyType) types.KeySchemaElement {
	return types.KeySchemaElement{AttributeName: &name, KeyType: k}
}

func newTable(t *T) dbTable {
	tb := dbTable{T: t, c: dynamodb.NewFromConfig(t.cfg), name: aws.String(unique(t))}
	def := func(name string, at types.ScalarAttributeType) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: at}
	}
	_, err := tb.c.CreateTable(t.ctx, &dynamodb.CreateTableInput{
		TableName: tb.name, BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{keyOf("pk", types.KeyTypeHash), keyOf("sk", types.KeyTypeRange)},
		AttributeDefinitions: []types.AttributeDefinition{def("pk", "S"), def("sk", "N"), def("holder", "S"), def("at", "S")},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName: aws.String("byHolder"), KeySchema: []types.KeySchemaElement{
				keyOf("holder", types.KeyTypeHash), keyOf("at", types.KeyTypeRange),
			},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}},
	})
	t.noError("create table", err)
	t.noError("wait for table", dynamodb.NewTableExistsWaiter(tb.c).Wait(t.ctx, &dynamodb.DescribeTableInput{TableName: tb.name}, time.Minute))
	return tb
}

func (t dbTable) av(v any) types.AttributeValue {
	a, err := attributevalue.Marshal(v)
	t.noError("encode", err)
	return a
}

func (t dbTable) item(v item) values {
	m, err := attributevalue.MarshalMap(v)
	t.noError("encode", err)
	return m
}

// values encodes the values of an expression; nil if there are none, as the SDK requires.
func (t dbTable) values(v item) values {
	if len(v) == 0 {
		return nil
	}
	return t.item(v)
}

// plain decodes an item. Numbers become float64.
func (t dbTable) plain(m values) item {
	if len(m) == 0 {
		return nil
	}
	var v item
	t.noError("decode", attributevalue.UnmarshalMap(m, &v))
	return v
}

func key(pk string, sk int) item { return item{"pk": pk, "sk": sk} }

func (t dbTable) tryPut(v item) error {
	_, err := t.c.PutItem(t.ctx, &dynamodb.PutItemInput{TableName: t.name, Item: t.item(v)})
	return err
}

func (t dbTable) put(v ...item) {
	for _, v := range v {
		t.noError("put", t.tryPut(v))
	}
}

func (t dbTable) get(k item) item {
	out, err := t.c.GetItem(t.ctx, &dynamodb.GetItemInput{TableName: t.name, Key: t.item(k), ConsistentRead: aws.Bool(true)})
	t.noError("get", err)
	return t.plain(out.Item)
}

func items(t *T) {
	tb := newTable(t)
	full := item{
		"pk": "a", "sk": 1.0, "s": "ä\"<&>\u2028", "n": 1.5, "b": []byte{0, 255}, "yes": true, "nil": nil,
		"l": []any{"x", 2.0, []any{}}, "m": map[string]any{"deep": map[string]any{"er": 3.0}}, "empty": "",
	}
	tb.put(full)
	equal(t, "item", tb.get(key("a", 1)), full)
	equal(t, "absent", tb.get(key("a", 2)), nil)
}

func sets(t *T) {
	tb := newTable(t)
	_, err := tb.c.PutItem(t.ctx, &dynamodb.PutItemInput{TableName: tb.name, Item: values{
		"pk": tb.av("a"), "sk": tb.av(1),
		"ss": &types.AttributeValueMemberSS{Value: []string{"b", "a"}}, "ns": &types.AttributeValueMemberNS{Value: []string{"2", "1.0"}},
		"bs": &types.AttributeValueMemberBS{Value: [][]byte{{2}, {1}}},
	}})
	t.noError("put", err)
	got, err := tb.c.GetItem(t.ctx, &dynamodb.GetItemInput{TableName: tb.name, Key: tb.item(key("a", 1))})
	t.noError("get", err)
	ss := got.Item["ss"].(*types.AttributeValueMemberSS).Value
	ns := got.Item["ns"].(*types.AttributeValueMemberNS).Value
	slices.Sort(ss)
	slices.Sort(ns)
	equal(t, "strings", ss, []string{"a", "b"})
	equal(t, "numbers", ns, []string{"1", "2"})
	equal(t, "binaries", len(got.Item["bs"].(*types.AttributeValueMemberBS).Value), 2)
}

func emptySet(t *T) {
	tb := newTable(t)
	_, err := tb.c.PutItem(t.ctx, &dynamodb.PutItemInput{
		TableName: tb.name,
		Item:      values{"pk": tb.av("a"), "sk": tb.av(1), "ss": &types.AttributeValueMemberSS{Value: []string{}}},
	})
	t.wantError("put", err, "ValidationException", "")
}

// number stores a number and returns it as DynamoDB returns it.
func (t dbTable) number(n string) (string, error) {
	_, err := t.c.PutItem(t.ctx, &dynamodb.PutItemInput{
		TableName: t.name, Item: values{"pk": t.av("n"), "sk": t.av(1), "n": &types.AttributeValueMemberN{Value: n}},
	})
	if err != nil {
		return "", err
	}
	out, err := t.c.GetItem(t.ctx, &dynamodb.GetItemInput{TableName: t.name, Key: t.item(key("n", 1)), ConsistentRead: aws.Bool(true)})
	t.noError("get", err)
	return out.Item["n"].(*types.AttributeValueMemberN).Value, nil
}

func numbers(t *T) {
	tb := newTable(t)
	for _, c := range [][2]string{
		{"1.0", "1"}, {"-0", "0"}, {"0.10", "0.1"}, {"1e3", "1000"}, {"1E-2", "0.01"}, {"+5", "5"}, {"00012", "12"},
	} {
		got, err := tb.number(c[0])
		if err != nil || got != c[1] {
			t.Errorf("%s becomes %q, want %s (%v)", c[0], got, c[1], err)
		}
	}
}

func precision(t *T) {
	tb := newTable(t)
	for _, n := range []string{
		"12345678901234567890123456789012345678", "0.12345678901234567890123456789012345678",
		"-9999999999999999999999999999999999999.9",
	} {
		if got, err := tb.number(n); err != nil || got != n {
			t.Errorf("%s becomes %q (%v), want it unchanged", n, got, err)
		}
	}
}

func arithmetic(t *T) {
	tb := newTable(t)
	_, err := tb.number("0.1")
	t.noError("put", err)
	for _, c := range [][2]string{{"0.2", "0.3"}, {"12345678901234567890123456789012345678", "12345678901234567890123456789012345678"}} {
		if c[0] != "0.2" {
			_, err := tb.number("-0")
			t.noError("put", err)
		}
		out, err := tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{
			TableName: tb.name, Key: tb.item(key("n", 1)), UpdateExpression: aws.String("SET n = n + :v"),
			ExpressionAttributeValues: values{":v": &types.AttributeValueMemberN{Value: c[0]}}, ReturnValues: "ALL_NEW",
		})
		t.noError("add "+c[0], err)
		equal(t, "sum", out.Attributes["n"].(*types.AttributeValueMemberN).Value, c[1])
	}
}

func invalidNumbers(t *T) {
	tb := newTable(t)
	for _, bad := range []string{"", "x", "1e999", "123456789012345678901234567890123456789", "NaN", "Infinity", "1_0", "0x1"} {
		_, err := tb.number(bad)
		t.wantError(fmt.Sprintf("%q", bad), err, "ValidationException", "")
	}
}

func allOld(t *T) {
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "s": "old"})
	put, err := tb.c.PutItem(t.ctx, &dynamodb.PutItemInput{
		TableName: tb.name, Item: tb.item(item{"pk": "a", "sk": 1, "s": "new"}), ReturnValues: "ALL_OLD",
	})
	t.noError("put", err)
	equal(t, "of the put", tb.plain(put.Attributes), item{"pk": "a", "sk": 1.0, "s": "old"})
	del, err := tb.c.DeleteItem(t.ctx, &dynamodb.DeleteItemInput{TableName: tb.name, Key: tb.item(key("a", 1)), ReturnValues: "ALL_OLD"})
	t.noError("delete", err)
	equal(t, "of the delete", tb.plain(del.Attributes), item{"pk": "a", "sk": 1.0, "s": "new"})
	equal(t, "deleted", tb.get(key("a", 1)), nil)
}

func deleteMissingItem(t *T) {
	tb := newTable(t)
	_, err := tb.c.DeleteItem(t.ctx, &dynamodb.DeleteItemInput{TableName: tb.name, Key: tb.item(key("a", 1))})
	t.noError("delete", err)
}

func consistentRead(t *T) {
	tb := newTable(t)
	for n := range 5 {
		tb.put(item{"pk": "a", "sk": 1, "n": n})
		equal(t, "n", tb.get(key("a", 1))["n"], float64(n))
	}
}

func consistentIndex(t *T) {
	tb := newTable(t)
	_, err := tb.c.Query(t.ctx, &dynamodb.QueryInput{
		TableName: tb.name, IndexName: aws.String("byHolder"), ConsistentRead: aws.Bool(true),
		KeyConditionExpression: aws.String("holder = :h"), ExpressionAttributeValues: tb.item(item{":h": "ann"}),
	})
	t.wantError("query", err, "ValidationException", "onsistent")
}

// thirtyItems returns a table with the items n = 0 to 29 under two hash keys. Every third
// item is in the index.
func thirtyItems(t *T) dbTable {
	tb := newTable(t)
	for n := range 30 {
		v := item{"pk": fmt.Sprint("p", n%2), "sk": n - 10, "n": n}
		if n%3 == 0 {
			v["holder"], v["at"] = "ann", fmt.Sprintf("t%02d", n)
		}
		tb.put(v)
	}
	return tb
}

// query is a query, and the attribute n of the items that it returns.
type query struct {
	index, key, filter string
	values             item
	desc               bool
	want               []float64
}

// sequence returns the numbers between from and to, both included.
func sequence(from, to, step int) (out []float64) {
	for n := from; step > 0 && n <= to || step < 0 && n >= to; n += step {
		out = append(out, float64(n))
	}
	return out
}

func (t dbTable) input(c query, limit int32) *dynamodb.QueryInput {
	in := &dynamodb.QueryInput{
		TableName: t.name, KeyConditionExpression: &c.key, ExpressionAttributeValues: t.item(c.values),
		ExpressionAttributeNames: names(c.key, "#at", "at"), ScanIndexForward: aws.Bool(!c.desc), Limit: &limit,
	}
	if c.index != "" {
		in.IndexName = &c.index
	}
	if c.filter != "" {
		in.FilterExpression = &c.filter
	}
	return in
}

// wantQueries checks queries in pages of 3 items and in one page.
func (t dbTable) wantQueries(queries ...query) {
	for _, c := range queries {
		for _, limit := range []int32{3, 100} {
			var got []float64
			pages := dynamodb.NewQueryPaginator(t.c, t.input(c, limit))
			for pages.HasMorePages() {
				page, err := pages.NextPage(t.ctx)
				if err != nil {
					t.Errorf("%s: query failed: %v", c.key, err)
					break
				}
				if page.ScannedCount > limit || int(page.Count) != len(page.Items) {
					t.Errorf("%s: a page has %d items and %d scanned, want %d items and at most %d scanned",
						c.key, len(page.Items), page.ScannedCount, page.Count, limit)
				}
				for _, m := range page.Items {
					got = append(got, t.plain(m)["n"].(float64))
				}
			}
			equal(t.T, fmt.Sprintf("%s %v, desc %v, limit %d", c.key, c.values, c.desc, limit), got, c.want)
		}
	}
}

func names(expr, placeholder, name string) map[string]string {
	if !strings.Contains(expr, placeholder) {
		return nil
	}
	return map[string]string{placeholder: name}
}

func queryTable(t *T) {
	thirtyItems(t).wantQueries(
		query{key: "pk = :p", values: item{":p": "p0"}, want: sequence(0, 28, 2)},
		query{key: "pk = :p", values: item{":p": "p0"}, desc: true, want: sequence(28, 0, -2)},
		query{key: "pk = :p AND sk > :s", values: item{":p": "p0", ":s": 0}, want: sequence(12, 28, 2)},
		query{key: "pk = :p AND sk >= :s", values: item{":p": "p0", ":s": 2}, want: sequence(12, 28, 2)},
		query{key: "pk = :p AND sk < :s", values: item{":p": "p0", ":s": 0}, want: sequence(0, 8, 2)},
		query{key: "sk <= :s AND pk = :p", values: item{":p": "p0", ":s": 0}, want: sequence(0, 10, 2)},
		query{key: "pk = :p AND sk BETWEEN :a AND :b", values: item{":p": "p0", ":a": -4, ":b": 4}, desc: true, want: sequence(14, 6, -2)},
		query{key: "pk = :p AND sk = :s", values: item{":p": "p0", ":s": -10}, want: []float64{0}},
		query{key: "pk = :p", values: item{":p": "none"}},
	)
}

func queryIndex(t *T) {
	thirtyItems(t).wantQueries(
		query{index: "byHolder", key: "holder = :o", values: item{":o": "ann"}, want: sequence(0, 27, 3)},
		query{index: "byHolder", key: "holder = :o", values: item{":o": "ann"}, desc: true, want: sequence(27, 0, -3)},
		query{index: "byHolder", key: "holder = :o AND begins_with(#at, :a)", values: item{":o": "ann", ":a": "t1"}, want: []float64{12, 15, 18}},
		query{
			index: "byHolder", key: "holder = :o AND #at BETWEEN :a AND :b", values: item{":o": "ann", ":a": "t03", ":b": "t09"},
			desc: true, want: []float64{9, 6, 3},
		},
		query{
			index: "byHolder", key: "holder = :o AND #at < :a", filter: "pk = :p",
			values: item{":o": "ann", ":a": "t10", ":p": "p1"}, want: []float64{3, 9},
		},
	)
}

func queryFilter(t *T) {
	thirtyItems(t).wantQueries(query{key: "pk = :p", filter: "n >= :n", values: item{":p": "p0", ":n": 20}, want: sequence(20, 28, 2)})
}

func lastEvaluatedKey(t *T) {
	tb := thirtyItems(t)
	in := tb.input(query{index: "byHolder", key: "holder = :o", values: item{":o": "ann"}}, 2)
	page, err := tb.c.Query(t.ctx, in)
	t.noError("query", err)
	equal(t, "LastEvaluatedKey", tb.plain(page.LastEvaluatedKey), item{"pk": "p1", "sk": -7.0, "holder": "ann", "at": "t03"})
	_, err = tb.c.DeleteItem(t.ctx, &dynamodb.DeleteItemInput{TableName: tb.name, Key: tb.item(key("p1", -7))})
	t.noError("delete", err)
	in.ExclusiveStartKey = page.LastEvaluatedKey
	page, err = tb.c.Query(t.ctx, in)
	t.noError("query the second page", err)
	if len(page.Items) != 2 {
		t.Fatalf("the second page has %d items, want 2", len(page.Items))
	}
	equal(t, "first item of the second page", tb.plain(page.Items[0])["n"], 6.0)
}

func pagesOf1MB(t *T) {
	tb := newTable(t)
	for n := range 4 {
		tb.put(item{"pk": "a", "sk": n, "s": strings.Repeat("x", 390<<10)})
	}
	pages, n, count := dynamodb.NewQueryPaginator(tb.c, &dynamodb.QueryInput{
		TableName: tb.name, KeyConditionExpression: aws.String("pk = :p"),
		ExpressionAttributeValues: tb.item(item{":p": "a"}), Select: types.SelectCount,
	}), 0, 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.ctx)
		t.noError("query", err)
		n++
		count += int(page.Count)
	}
	equal(t, "pages", n, 2)
	equal(t, "count", count, 4)
}

func queryCount(t *T) {
	tb := thirtyItems(t)
	out, err := tb.c.Query(t.ctx, &dynamodb.QueryInput{
		TableName: tb.name, KeyConditionExpression: aws.String("pk = :p"),
		ExpressionAttributeValues: tb.item(item{":p": "p1"}), Select: types.SelectCount,
	})
	t.noError("query", err)
	equal(t, "count", out.Count, 15)
	equal(t, "items", len(out.Items), 0)
}

func projection(t *T) {
	tb := thirtyItems(t)
	out, err := tb.c.Query(t.ctx, &dynamodb.QueryInput{
		TableName: tb.name, KeyConditionExpression: aws.String("pk = :p AND sk = :s"),
		ExpressionAttributeValues: tb.item(item{":p": "p0", ":s": -10}),
		ProjectionExpression:      aws.String("n, #at"), ExpressionAttributeNames: map[string]string{"#at": "at"},
	})
	t.noError("query", err)
	equal(t, "item", tb.plain(out.Items[0]), item{"n": 0.0, "at": "t00"})
}

func scan(t *T) {
	tb := thirtyItems(t)
	seen := map[float64]bool{}
	pages, n := dynamodb.NewScanPaginator(tb.c, &dynamodb.ScanInput{
		TableName: tb.name, Limit: aws.Int32(7), ConsistentRead: aws.Bool(true),
		FilterExpression: aws.String("n < :n"), ExpressionAttributeValues: tb.item(item{":n": 25}),
	}), 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.ctx)
		t.noError("scan", err)
		n++
		for _, m := range page.Items {
			seen[tb.plain(m)["n"].(float64)] = true
		}
	}
	if len(seen) != 25 || n < 5 {
		t.Errorf("found %d items in %d pages, want 25 in 5", len(seen), n)
	}
}

func scanFromKeyOfNoItem(t *T) {
	tb := newTable(t)
	tb.put(key("a", 1), key("a", 3), key("a", 5))
	out, err := tb.c.Scan(t.ctx, &dynamodb.ScanInput{TableName: tb.name, ExclusiveStartKey: tb.item(key("a", 2))})
	t.noError("scan", err)
	equal(t, "found", out.Count, 2)
}

func indexKeyChanges(t *T) {
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "n": 1, "holder": "ann", "at": "t"})
	_, err := tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{
		TableName: tb.name, Key: tb.item(key("a", 1)), UpdateExpression: aws.String("SET holder = :h"),
		ExpressionAttributeValues: tb.item(item{":h": "bob"}),
	})
	t.noError("update", err)
	tb.wantQueries(query{
		index: "byHolder", key: "holder = :h", values: item{":h": "ann"},
	}, query{index: "byHolder", key: "holder = :h", values: item{":h": "bob"}, want: []float64{1}})
}

func sparseIndex(t *T) {
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "holder": "ann"}, item{"pk": "a", "sk": 2, "n": 2, "holder": "ann", "at": "t"}, key("a", 3))
	tb.wantQueries(query{index: "byHolder", key: "holder = :h", values: item{":h": "ann"}, want: []float64{2}})
}

func writes(t dbTable, n int) (w []types.WriteRequest) {
	for n := range n {
		w = append(w, types.WriteRequest{PutRequest: &types.PutRequest{Item: t.item(key("b", n))}})
	}
	return w
}

func (t dbTable) write(w []types.WriteRequest) error {
	_, err := t.c.BatchWriteItem(t.ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{*t.name: w}})
	return err
}

func batches(t *T) {
	tb := newTable(t)
	t.noError("write", tb.write(writes(tb, 25)))
	t.noError("delete", tb.write([]types.WriteRequest{{DeleteRequest: &types.DeleteRequest{Key: tb.item(key("b", 0))}}}))
	var keys []values
	for n := range 25 {
		keys = append(keys, tb.item(key("b", n)))
	}
	out, err := tb.c.BatchGetItem(t.ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{*tb.name: {Keys: keys}}})
	t.noError("read", err)
	equal(t, "items", len(out.Responses[*tb.name]), 24)
}

func batchOf26(t *T) {
	tb := newTable(t)
	t.wantError("write", tb.write(writes(tb, 26)), "ValidationException", "")
}

func batchDuplicateItem(t *T) {
	tb := newTable(t)
	for range 20 { // the SDK sends the attributes of an item in a random order
		t.wantError("write", tb.write(append(writes(tb, 1), writes(tb, 1)...)), "ValidationException", "duplicates")
	}
}

func itemSize(t *T) {
	tb := newTable(t)
	const rest = 2 + 1 + 2 + 2 + 1 // pk, its value, sk, its value (a number of one digit), s
	if err := tb.tryPut(item{"pk": "a", "sk": 1, "s": strings.Repeat("x", 400<<10-rest)}); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	t.wantError("above the limit", tb.tryPut(item{
		"pk": "a", "sk": 1, "s": strings.Repeat("x", 400<<10-rest+1),
	}), "ValidationException", "Item size")
}

func tableLifecycle(t *T) {
	tb := newTable(t)
	d, err := tb.c.DescribeTable(t.ctx, &dynamodb.DescribeTableInput{TableName: tb.name})
	t.noError("describe", err)
	equal(t, "status", d.Table.TableStatus, "ACTIVE")
	equal(t, "keys and indexes", []int{len(d.Table.KeySchema), len(d.Table.GlobalSecondaryIndexes)}, []int{2, 1})
	if !strings.HasPrefix(aws.ToString(d.Table.TableArn), "arn:aws:dynamodb:") {
		t.Errorf("table ARN = %q, want one of DynamoDB", aws.ToString(d.Table.TableArn))
	}
	found := false
	pages := dynamodb.NewListTablesPaginator(tb.c, &dynamodb.ListTablesInput{Limit: aws.Int32(20)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.ctx)
		t.noError("list", err)
		found = found || slices.Contains(page.TableNames, *tb.name)
	}
	equal(t, "listed", found, true)
	_, err = tb.c.DeleteTable(t.ctx, &dynamodb.DeleteTableInput{TableName: tb.name})
	t.noError("delete", err)
	deleted := dynamodb.NewTableNotExistsWaiter(tb.c)
	t.noError("wait for the deletion", deleted.Wait(t.ctx, &dynamodb.DescribeTableInput{TableName: tb.name}, time.Minute))
}

func createExistingTable(t *T) {
	tb := newTable(t)
	_, err := tb.c.CreateTable(t.ctx, &dynamodb.CreateTableInput{
		TableName: tb.name, BillingMode: "PAY_PER_REQUEST", KeySchema: []types.KeySchemaElement{keyOf("x", "HASH")},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("x"), AttributeType: "S"}},
	})
	wantErrorType[*types.ResourceInUseException](t, "create", err)
}

func unknownTable(t *T) {
	tb := dbTable{T: t, c: dynamodb.NewFromConfig(t.cfg), name: aws.String(unique(t))}
	k := tb.item(key("a", 1))
	_, get := tb.c.GetItem(t.ctx, &dynamodb.GetItemInput{TableName: tb.name, Key: k})
	_, update := tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{
		TableName: tb.name, Key: k, UpdateExpression: aws.String("SET a = :v"),
		ExpressionAttributeValues: tb.item(item{":v": 1}),
	})
	_, query := tb.c.Query(t.ctx, tb.input(query{key: "pk = :p", values: item{":p": "a"}}, 1))
	_, scan := tb.c.Scan(t.ctx, &dynamodb.ScanInput{TableName: tb.name})
	_, describe := tb.c.DescribeTable(t.ctx, &dynamodb.DescribeTableInput{TableName: tb.name})
	transact := tb.transact("", types.TransactWriteItem{Put: &types.Put{TableName: tb.name, Item: k}})
	for _, c := range []struct {
		what string
		err  error
	}{
		{"put", tb.tryPut(key("a", 1))},
		{"get", get},
		{"update", update},
		{"query", query},
		{"scan", scan},
		{"transaction", transact},
		{"describe", describe},
	} {
		wantErrorType[*types.ResourceNotFoundException](t, c.what, c.err)
	}
}

func unknownIndex(t *T) {
	tb := newTable(t)
	_, err := tb.c.Query(t.ctx, tb.input(query{index: "byNothing", key: "pk = :p", values: item{":p": "a"}}, 1))
	t.wantError("query", err, "ValidationException", "index")
}

func (t dbTable) enableTTL() error {
	_, err := t.c.UpdateTimeToLive(t.ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName:               t.name,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)},
	})
	return err
}

func timeToLive(t *T) {
	tb := newTable(t)
	describe := func() *types.TimeToLiveDescription {
		out, err := tb.c.DescribeTimeToLive(t.ctx, &dynamodb.DescribeTimeToLiveInput{TableName: tb.name})
		t.noError("describe", err)
		return out.TimeToLiveDescription
	}
	equal(t, "at first", describe().TimeToLiveStatus, "DISABLED")
	t.noError("set", tb.enableTTL())
	equal(t, "attribute", aws.ToString(describe().AttributeName), "expires")
	if s := describe().TimeToLiveStatus; s != "ENABLED" && s != "ENABLING" {
		t.Errorf("TTL status = %s, want ENABLED or ENABLING", s)
	}
}

func timeToLiveAlreadyEnabled(t *T) {
	tb := newTable(t)
	t.noError("set", tb.enableTTL())
	t.wantError("again", tb.enableTTL(), "ValidationException", "")
}

// failedItem returns the item in the error of a failed condition.
func (t dbTable) failedItem(err error) item {
	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok {
		t.Fatalf("%v, want ConditionalCheckFailedException", err)
	}
	return t.plain(failed.Item)
}
