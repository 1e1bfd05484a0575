package conformance

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// table is one table with the key pk (string) and sk (number), and an index
// on owner and at.
type table struct {
	*testing.T

	c    *dynamodb.Client
	name *string
}

type item = map[string]any

func newTable(t *testing.T) table {
	t.Helper()
	tb := table{t, dynamodb.NewFromConfig(awsConfig(t)), aws.String(unique(t))}
	key := func(name string, k types.KeyType) types.KeySchemaElement {
		return types.KeySchemaElement{AttributeName: &name, KeyType: k}
	}
	def := func(name string, at types.ScalarAttributeType) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: at}
	}
	_, err := tb.c.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: tb.name, BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{key("pk", types.KeyTypeHash), key("sk", types.KeyTypeRange)},
		AttributeDefinitions: []types.AttributeDefinition{def("pk", "S"), def("sk", "N"), def("holder", "S"), def("at", "S")},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName: aws.String("byOwner"), KeySchema: []types.KeySchemaElement{key("holder", types.KeyTypeHash), key("at", types.KeyTypeRange)},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func (t table) av(v any) types.AttributeValue {
	t.Helper()
	a, err := attributevalue.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (t table) item(v item) map[string]types.AttributeValue {
	t.Helper()
	m, err := attributevalue.MarshalMap(v)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (t table) values(v item) map[string]types.AttributeValue {
	if len(v) == 0 {
		return nil
	}
	return t.item(v)
}

func key(pk string, sk int) item { return item{"pk": pk, "sk": sk} }

func (t table) put(v item) {
	t.Helper()
	if _, err := t.c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: t.name, Item: t.item(v)}); err != nil {
		t.Fatal(err)
	}
}

func (t table) get(k item) item {
	t.Helper()
	out, err := t.c.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: t.name, Key: t.item(k), ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return t.plain(out.Item)
}

// plain decodes an item into Go values that compare: numbers become float64.
func (t table) plain(m map[string]types.AttributeValue) item {
	t.Helper()
	if len(m) == 0 {
		return nil
	}
	var v item
	if err := attributevalue.UnmarshalMap(m, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// wantAPI checks AWS's error code and a part of its message.
func wantAPI(t testing.TB, what string, err error, code, say string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), say) {
		t.Errorf("%s: %v, want %s: …%s…", what, err, code, say)
	}
}

func TestDynamoItems(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	full := item{"pk": "a", "sk": 1.0, "s": "ä\"<&>\u2028", "n": 1.5, "b": []byte{0, 255}, "yes": true, "nil": nil,
		"l": []any{"x", 2.0, []any{}}, "m": map[string]any{"deep": map[string]any{"er": 3.0}}, "empty": ""}
	tb.put(full)
	same(t, "item", tb.get(key("a", 1)), full)
	same(t, "absent", tb.get(key("a", 2)), item(nil))

	sets := map[string]types.AttributeValue{"pk": tb.av("sets"), "sk": tb.av(1),
		"ss": &types.AttributeValueMemberSS{Value: []string{"b", "a"}}, "ns": &types.AttributeValueMemberNS{Value: []string{"2", "1.0"}},
		"bs": &types.AttributeValueMemberBS{Value: [][]byte{{2}, {1}}}}
	if _, err := tb.c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: tb.name, Item: sets}); err != nil {
		t.Fatal(err)
	}
	got, err := tb.c.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: tb.name, Key: tb.item(key("sets", 1))})
	if err != nil {
		t.Fatal(err)
	}
	ss := got.Item["ss"].(*types.AttributeValueMemberSS).Value
	ns := got.Item["ns"].(*types.AttributeValueMemberNS).Value
	slices.Sort(ss)
	slices.Sort(ns)
	same(t, "string set", ss, []string{"a", "b"})
	same(t, "number set", ns, []string{"1", "2"})

	old, err := tb.c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: tb.name, Item: tb.item(item{"pk": "a", "sk": 1, "s": "new"}), ReturnValues: "ALL_OLD"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ALL_OLD of a put", tb.plain(old.Attributes), full)
	del, err := tb.c.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: tb.name, Key: tb.item(key("a", 1)), ReturnValues: "ALL_OLD"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ALL_OLD of a delete", tb.plain(del.Attributes), item{"pk": "a", "sk": 1.0, "s": "new"})
	same(t, "deleted", tb.get(key("a", 1)), item(nil))
	if _, err := tb.c.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: tb.name, Key: tb.item(key("a", 1))}); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
}

func TestDynamoNumbers(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	for in, want := range map[string]string{
		"1.0": "1", "-0": "0", "0.10": "0.1", "1e3": "1000", "1E-2": "0.01", "+5": "5", "00012": "12",
		"12345678901234567890123456789012345678":       "12345678901234567890123456789012345678",
		"9.9999999999999999999999999999999999999E+125": "9.9999999999999999999999999999999999999E+125",
	} {
		m := map[string]types.AttributeValue{"pk": tb.av("n"), "sk": tb.av(1), "n": &types.AttributeValueMemberN{Value: in}}
		if _, err := tb.c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: tb.name, Item: m}); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		out, err := tb.c.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: tb.name, Key: tb.item(key("n", 1))})
		if err != nil {
			t.Fatal(err)
		}
		got := out.Item["n"].(*types.AttributeValueMemberN).Value
		if got != want && !(len(want) > 39 && strings.HasPrefix(got, "9999999999")) { // AWS writes large ones out
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
	for _, bad := range []string{"", "x", "1e999", "123456789012345678901234567890123456789", "NaN", "1_0", "0x1"} {
		m := map[string]types.AttributeValue{"pk": tb.av("n"), "sk": tb.av(1), "n": &types.AttributeValueMemberN{Value: bad}}
		_, err := tb.c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: tb.name, Item: m})
		wantAPI(t, bad, err, "ValidationException", "")
	}
}

func TestDynamoConditions(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	tb.put(item{"pk": "c", "sk": 1, "n": 5, "s": "hello", "l": []any{"a", item{"x": 7}}, "m": item{"k": "v"}, "nil": nil, "b": true, "status": "OPEN"})
	if _, err := tb.c.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(key("c", 1)),
		UpdateExpression: aws.String("SET tags = :t"), ExpressionAttributeValues: map[string]types.AttributeValue{":t": &types.AttributeValueMemberSS{Value: []string{"red", "blue"}}}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cond   string
		values item
		holds  bool
	}{
		{"n = :v", item{":v": 5}, true}, {"n <> :v", item{":v": 5}, false}, {"n < :v", item{":v": 6}, true}, {"n >= :v", item{":v": 6}, false},
		{"n = :v", item{":v": "5"}, false}, {"n <> :v", item{":v": "5"}, true}, {"n < :v", item{":v": "6"}, false},
		{"s > :v", item{":v": "hell"}, true}, {"nope = :v", item{":v": 1}, false}, {"nope <> :v", item{":v": 1}, true},
		{"n BETWEEN :a AND :b", item{":a": 5, ":b": 5}, true}, {"n BETWEEN :a AND :b", item{":a": 6, ":b": 9}, false},
		{"s IN (:a, :b)", item{":a": "x", ":b": "hello"}, true}, {"s IN (:a)", item{":a": "x"}, false},
		{"attribute_exists(l[1].x)", nil, true}, {"attribute_exists(l[2])", nil, false}, {"attribute_not_exists(m.nope)", nil, true},
		{"attribute_exists(nil)", nil, true}, {"attribute_type(nil, :t)", item{":t": "NULL"}, true}, {"attribute_type(tags, :t)", item{":t": "SS"}, true},
		{"attribute_type(n, :t)", item{":t": "S"}, false}, {"begins_with(s, :v)", item{":v": "hel"}, true}, {"begins_with(s, :v)", item{":v": "x"}, false},
		{"contains(s, :v)", item{":v": "ell"}, true}, {"contains(tags, :v)", item{":v": "red"}, true}, {"contains(l, :v)", item{":v": "a"}, true}, {"contains(l, :v)", item{":v": "z"}, false},
		{"size(s) = :v", item{":v": 5}, true}, {"size(l) > :v", item{":v": 1}, true}, {"size(tags) = :v", item{":v": 2}, true},
		{"NOT n = :v", item{":v": 4}, true}, {"n = :v AND s = :w", item{":v": 5, ":w": "x"}, false}, {"n = :v OR s = :w", item{":v": 5, ":w": "x"}, true},
		{"n = :x OR n = :v AND s = :w", item{":x": 5, ":v": 1, ":w": "x"}, true},    // AND binds closer
		{"(n = :x OR n = :v) AND s = :w", item{":x": 5, ":v": 1, ":w": "x"}, false}, // unless told
		{"NOT (n = :x OR s = :w)", item{":x": 1, ":w": "x"}, true}, {"m.k = s", nil, false}, {"n = n", nil, true},
		{"#s = :v", item{":v": "OPEN"}, true}, {"b = :v", item{":v": true}, true},
	} {
		in := &dynamodb.PutItemInput{TableName: tb.name, Item: tb.item(item{"pk": "c", "sk": 1, "n": 99}), ConditionExpression: &c.cond, ExpressionAttributeValues: tb.values(c.values)}
		// Checked by a transaction, which leaves the item as it is.
		_, err := tb.c.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{ConditionCheck: &types.ConditionCheck{
			TableName: tb.name, Key: tb.item(key("c", 1)), ConditionExpression: in.ConditionExpression, ExpressionAttributeValues: in.ExpressionAttributeValues,
			ExpressionAttributeNames: names(c.cond, "#s", "status"),
		}}}})
		if holds := err == nil; holds != c.holds {
			t.Errorf("%s %v: %v, must hold: %v", c.cond, c.values, err, c.holds)
		}
	}

	_, err := tb.c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: tb.name, Item: tb.item(key("c", 1)),
		ConditionExpression: aws.String("attribute_not_exists(pk)"), ReturnValuesOnConditionCheckFailure: "ALL_OLD"})
	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok || tb.plain(failed.Item)["s"] != "hello" {
		t.Errorf("%v", err)
	}
	_, err = tb.c.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: tb.name, Key: tb.item(key("c", 1)), ConditionExpression: aws.String("n > n")})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); !ok || failed.Item != nil {
		t.Errorf("%v", err)
	}
}

func names(expr, placeholder, name string) map[string]string {
	if !strings.Contains(expr, placeholder) {
		return nil
	}
	return map[string]string{placeholder: name}
}

func TestDynamoUpdates(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	for n, c := range []struct {
		before item
		expr   string
		values item
		after  item
	}{
		{nil, "SET a = :v", item{":v": 1}, item{"a": 1.0}},
		{nil, "SET a = if_not_exists(a, :z) + :v", item{":z": 0, ":v": 2}, item{"a": 2.0}},
		{item{"a": 5}, "SET a = a - :v, b = a", item{":v": 2}, item{"a": 3.0, "b": 5.0}},
		{item{"l": []any{"x"}}, "SET l = list_append(l, :v)", item{":v": []any{"y"}}, item{"l": []any{"x", "y"}}},
		{item{"l": []any{"x"}}, "SET l = list_append(:v, l)", item{":v": []any{"y"}}, item{"l": []any{"y", "x"}}},
		{nil, "SET l = list_append(if_not_exists(l, :e), :v)", item{":e": []any{}, ":v": []any{1}}, item{"l": []any{1.0}}},
		{item{"l": []any{"a", "b", "c"}}, "SET l[1] = :v REMOVE l[2]", item{":v": "B"}, item{"l": []any{"a", "B"}}},
		{item{"l": []any{"a"}}, "SET l[9] = :v", item{":v": "b"}, item{"l": []any{"a", "b"}}},
		{item{"m": item{"x": item{"y": 1}}}, "SET m.x.y = m.x.y + :v, m.z = :v", item{":v": 1}, item{"m": map[string]any{"x": map[string]any{"y": 2.0}, "z": 1.0}}},
		{item{"a": 1, "b": 2}, "REMOVE a, nope", nil, item{"b": 2.0}},
		{item{"n": 1}, "ADD n :v, k :v", item{":v": 2}, item{"n": 3.0, "k": 2.0}},
		{item{"a": 1, "b": 2}, "SET a = b, b = a", nil, item{"a": 2.0, "b": 1.0}}, // all see the item as it was
		{item{"a": 1}, "SET c = :v REMOVE a ADD n :v", item{":v": 1}, item{"c": 1.0, "n": 1.0}},
	} {
		k := key("u", n)
		if c.before != nil {
			c.before["pk"], c.before["sk"] = "u", n
			tb.put(c.before)
		}
		out, err := tb.c.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(k), UpdateExpression: &c.expr,
			ExpressionAttributeValues: tb.values(c.values), ReturnValues: "ALL_NEW"})
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		c.after["pk"], c.after["sk"] = "u", float64(n)
		same(t, c.expr, tb.get(k), c.after)
		same(t, c.expr+" ALL_NEW", tb.plain(out.Attributes), c.after)
	}

	set := func(expr string, members ...string) []string {
		t.Helper()
		in := &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(key("sets", 1)), UpdateExpression: &expr,
			ExpressionAttributeValues: map[string]types.AttributeValue{":v": &types.AttributeValueMemberSS{Value: members}}, ReturnValues: "UPDATED_NEW"}
		out, err := tb.c.UpdateItem(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		ss, _ := out.Attributes["tags"].(*types.AttributeValueMemberSS)
		if ss == nil {
			return nil
		}
		slices.Sort(ss.Value)
		return ss.Value
	}
	same(t, "ADD to no set", set("ADD tags :v", "b", "a"), []string{"a", "b"})
	same(t, "ADD to a set", set("ADD tags :v", "b", "c"), []string{"a", "b", "c"})
	same(t, "DELETE", set("DELETE tags :v", "a", "x"), []string{"b", "c"})
	same(t, "DELETE all", set("DELETE tags :v", "b", "c"), []string(nil))
	same(t, "an empty set is none", tb.get(key("sets", 1)), item{"pk": "sets", "sk": 1.0})

	tb.put(item{"pk": "rv", "sk": 1, "a": 1, "b": 2})
	for rv, want := range map[types.ReturnValue]item{
		"NONE": nil, "ALL_OLD": {"pk": "rv", "sk": 1.0, "a": 1.0, "b": 2.0}, "UPDATED_OLD": {"a": 1.0}, "UPDATED_NEW": {"a": 1.0},
	} {
		out, err := tb.c.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(key("rv", 1)), UpdateExpression: aws.String("SET a = :v"),
			ExpressionAttributeValues: tb.item(item{":v": 1}), ReturnValues: rv})
		if err != nil {
			t.Fatal(err)
		}
		same(t, string(rv), tb.plain(out.Attributes), want)
	}
}

func TestDynamoQueryAndScan(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	for n := range 30 {
		v := item{"pk": fmt.Sprint("p", n%2), "sk": n - 10, "n": n}
		if n%3 == 0 {
			v["holder"], v["at"] = "ann", fmt.Sprintf("t%02d", n)
		}
		tb.put(v)
	}
	type q struct {
		index, key, filter string
		values             item
		desc               bool
		want               []float64
	}
	evens := func(from, to, step int) (out []float64) {
		for n := from; step > 0 && n <= to || step < 0 && n >= to; n += step {
			out = append(out, float64(n))
		}
		return out
	}
	for _, c := range []q{
		{key: "pk = :p", values: item{":p": "p0"}, want: evens(0, 28, 2)},
		{key: "pk = :p", values: item{":p": "p0"}, desc: true, want: evens(28, 0, -2)},
		{key: "pk = :p AND sk > :s", values: item{":p": "p0", ":s": 0}, want: evens(12, 28, 2)},
		{key: "sk <= :s AND pk = :p", values: item{":p": "p0", ":s": 0}, want: evens(0, 10, 2)},
		{key: "pk = :p AND sk BETWEEN :a AND :b", values: item{":p": "p0", ":a": -4, ":b": 4}, desc: true, want: evens(14, 6, -2)},
		{key: "pk = :p AND sk = :s", values: item{":p": "p0", ":s": -10}, want: []float64{0}},
		{key: "pk = :p", filter: "n >= :n", values: item{":p": "p0", ":n": 20}, want: evens(20, 28, 2)},
		{key: "pk = :p", values: item{":p": "none"}},
		{index: "byOwner", key: "holder = :o", values: item{":o": "ann"}, want: evens(0, 27, 3)},
		{index: "byOwner", key: "holder = :o", values: item{":o": "ann"}, desc: true, want: evens(27, 0, -3)},
		{index: "byOwner", key: "holder = :o AND begins_with(#at, :a)", values: item{":o": "ann", ":a": "t1"}, want: []float64{12, 15, 18}},
		{index: "byOwner", key: "holder = :o AND #at < :a", filter: "pk = :p", values: item{":o": "ann", ":a": "t10", ":p": "p1"}, want: []float64{3, 9}},
	} {
		for _, limit := range []int32{3, 100} {
			in := &dynamodb.QueryInput{TableName: tb.name, KeyConditionExpression: &c.key, ExpressionAttributeValues: tb.item(c.values),
				ExpressionAttributeNames: names(c.key, "#at", "at"), ScanIndexForward: aws.Bool(!c.desc), Limit: &limit}
			if c.index != "" {
				in.IndexName = &c.index
			}
			if c.filter != "" {
				in.FilterExpression = &c.filter
			}
			var got []float64
			pages := dynamodb.NewQueryPaginator(tb.c, in)
			for pages.HasMorePages() {
				page, err := pages.NextPage(t.Context())
				if err != nil {
					t.Fatalf("%+v: %v", c, err)
				}
				if page.ScannedCount > limit || int(page.Count) != len(page.Items) {
					t.Errorf("%+v: looked at %d with limit %d", c, page.ScannedCount, limit)
				}
				for _, m := range page.Items {
					got = append(got, tb.plain(m)["n"].(float64))
				}
			}
			same(t, fmt.Sprintf("%+v", c), got, c.want)
		}
	}
	count, err := tb.c.Query(t.Context(), &dynamodb.QueryInput{TableName: tb.name, KeyConditionExpression: aws.String("pk = :p"),
		ExpressionAttributeValues: tb.item(item{":p": "p1"}), Select: types.SelectCount})
	if err != nil || count.Count != 15 || len(count.Items) != 0 {
		t.Errorf("count: %+v %v", count, err)
	}
	projected, err := tb.c.Query(t.Context(), &dynamodb.QueryInput{TableName: tb.name, KeyConditionExpression: aws.String("pk = :p AND sk = :s"),
		ExpressionAttributeValues: tb.item(item{":p": "p0", ":s": -10}), ProjectionExpression: aws.String("n, #at"), ExpressionAttributeNames: map[string]string{"#at": "at"}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "projection", tb.plain(projected.Items[0]), item{"n": 0.0, "at": "t00"})

	seen := map[float64]bool{}
	scan := dynamodb.NewScanPaginator(tb.c, &dynamodb.ScanInput{TableName: tb.name, Limit: aws.Int32(7), FilterExpression: aws.String("n < :n"), ExpressionAttributeValues: tb.item(item{":n": 25})})
	pages := 0
	for scan.HasMorePages() {
		page, err := scan.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, m := range page.Items {
			seen[tb.plain(m)["n"].(float64)] = true
		}
	}
	if len(seen) != 25 || pages < 5 {
		t.Errorf("scan found %d in %d pages", len(seen), pages)
	}
}

func TestDynamoBatch(t *testing.T) {
	t.Parallel()
	tb := newTable(t)
	var writes []types.WriteRequest
	for n := range 25 {
		writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: tb.item(item{"pk": "b", "sk": n})}})
	}
	write := func(w []types.WriteRequest) error {
		_, err := tb.c.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{*tb.name: w}})
		return err
	}
	if err := write(writes); err != nil {
		t.Fatal(err)
	}
	wantAPI(t, "26 writes", write(append(writes, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: tb.item(key("b", 99))}})), "ValidationException", "")
	wantAPI(t, "the same item twice", write([]types.WriteRequest{writes[0], writes[0]}), "ValidationException", "duplicates")
	if err := write([]types.WriteRequest{{DeleteRequest: &types.DeleteRequest{Key: tb.item(key("b", 0))}}}); err != nil {
		t.Fatal(err)
	}
	var keys []map[string]types.AttributeValue
	for n := range 25 {
		keys = append(keys, tb.item(key("b", n)))
	}
	out, err := tb.c.BatchGetItem(t.Context(), &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{*tb.name: {Keys: keys}}})
	if err != nil || len(out.Responses[*tb.name]) != 24 || len(out.UnprocessedKeys) != 0 {
		t.Errorf("%d items, %v", len(out.Responses[*tb.name]), err)
	}
}
