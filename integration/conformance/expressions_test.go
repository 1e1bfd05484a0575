package conformance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const operators = "developerguide/Expressions.OperatorsAndFunctions"
const updates = "developerguide/Expressions.UpdateExpressions"

func expressions() []behaviour {
	all := []behaviour{
		{"DynamoDB: conditions, comparisons", "values compare within their type; one of another type, or none, is only unequal", operators, holds(
			condition{"n = :v", item{":v": 5}, true}, condition{"n <> :v", item{":v": 5}, false}, condition{"n < :v", item{":v": 6}, true}, condition{"n >= :v", item{":v": 6}, false},
			condition{"n = :v", item{":v": "5"}, false}, condition{"n <> :v", item{":v": "5"}, true}, condition{"n < :v", item{":v": "6"}, false},
			condition{"s > :v", item{":v": "hell"}, true}, condition{"nope = :v", item{":v": 1}, false}, condition{"nope <> :v", item{":v": 1}, true},
			condition{"m.k = s", nil, false}, condition{"n = n2", nil, true}, condition{"b = :v", item{":v": true}, true}, condition{"l = :v", item{":v": []any{"a", item{"x": 7}}}, true})},
		{"DynamoDB: conditions, BETWEEN and IN", "BETWEEN includes its bounds, IN is any of a list", operators, holds(
			condition{"n BETWEEN :a AND :b", item{":a": 5, ":b": 5}, true}, condition{"n BETWEEN :a AND :b", item{":a": 6, ":b": 9}, false},
			condition{"s IN (:a, :b)", item{":a": "x", ":b": "hello"}, true}, condition{"s IN (:a)", item{":a": "x"}, false}, condition{"nope IN (:a)", item{":a": "x"}, false})},
		{"DynamoDB: conditions, functions", "attribute_exists, attribute_not_exists, attribute_type, begins_with, contains, size", operators, holds(
			condition{"attribute_exists(l[1].x)", nil, true}, condition{"attribute_exists(l[2])", nil, false}, condition{"attribute_not_exists(m.nope)", nil, true},
			condition{"attribute_exists(nothing)", nil, true}, condition{"attribute_type(nothing, :t)", item{":t": "NULL"}, true}, condition{"attribute_type(tags, :t)", item{":t": "SS"}, true},
			condition{"attribute_type(n, :t)", item{":t": "S"}, false}, condition{"begins_with(s, :v)", item{":v": "hel"}, true}, condition{"begins_with(s, :v)", item{":v": "x"}, false},
			condition{"contains(s, :v)", item{":v": "ell"}, true}, condition{"contains(tags, :v)", item{":v": "red"}, true},
			condition{"contains(l, :v)", item{":v": "a"}, true}, condition{"contains(l, :v)", item{":v": "z"}, false},
			condition{"size(s) = :v", item{":v": 5}, true}, condition{"size(l) > :v", item{":v": 1}, true}, condition{"size(tags) = :v", item{":v": 2}, true})},
		{"DynamoDB: conditions, logic", "NOT binds closest, then AND, then OR, unless parentheses say so", operators, holds(
			condition{"NOT n = :v", item{":v": 4}, true}, condition{"n = :v AND s = :w", item{":v": 5, ":w": "x"}, false}, condition{"n = :v OR s = :w", item{":v": 5, ":w": "x"}, true},
			condition{"n = :x OR n = :v AND s = :w", item{":x": 5, ":v": 1, ":w": "x"}, true}, condition{"(n = :x OR n = :v) AND s = :w", item{":x": 5, ":v": 1, ":w": "x"}, false},
			condition{"NOT (n = :x OR s = :w)", item{":x": 1, ":w": "x"}, true}, condition{"#s IN (:v, :w) AND (attribute_not_exists(gone) OR attribute_exists(nope))", item{":v": "OPEN", ":w": "X"}, true})},
		{"DynamoDB: conditions, the item that failed", "ReturnValuesOnConditionCheckFailure ALL_OLD gives it; without, there is none", "APIReference/API_PutItem", conditionFails},
		{"DynamoDB: update, arithmetic", "SET adds and subtracts, if_not_exists starts it", updates, updating(
			change{nil, "SET a = :v", item{":v": 1}, item{"a": 1.0}},
			change{nil, "SET a = if_not_exists(a, :z) + :v, b = if_not_exists(b, :z)", item{":z": 0, ":v": 2}, item{"a": 2.0, "b": 0.0}},
			change{item{"a": 5}, "SET a = a - :v, b = a", item{":v": 2}, item{"a": 3.0, "b": 5.0}},
			change{item{"a": 1, "b": 2}, "SET a = b, b = a", nil, item{"a": 2.0, "b": 1.0}})},
		{"DynamoDB: update, list_append", "appends and prepends, also to if_not_exists", updates, updating(
			change{item{"l": []any{"x"}}, "SET l = list_append(l, :v)", item{":v": []any{"y"}}, item{"l": []any{"x", "y"}}},
			change{item{"l": []any{"x"}}, "SET l = list_append(:v, l)", item{":v": []any{"y"}}, item{"l": []any{"y", "x"}}},
			change{nil, "SET l = list_append(if_not_exists(l, :e), :v)", item{":e": []any{}, ":v": []any{1}}, item{"l": []any{1.0}}})},
		{"DynamoDB: update, list elements", "are set and removed by index; beyond the end they are appended", updates, updating(
			change{item{"l": []any{"a", "b", "c"}}, "SET l[1] = :v REMOVE l[2]", item{":v": "B"}, item{"l": []any{"a", "B"}}},
			change{item{"l": []any{"a"}}, "SET l[9] = :v", item{":v": "b"}, item{"l": []any{"a", "b"}}})},
		{"DynamoDB: update, nested", "paths reach into maps", updates, updating(
			change{item{"m": item{"x": item{"y": 1}}}, "SET m.x.y = m.x.y + :v, m.z = :v", item{":v": 1}, item{"m": map[string]any{"x": map[string]any{"y": 2.0}, "z": 1.0}}})},
		{"DynamoDB: update, REMOVE and ADD", "also of what is not there", updates, updating(
			change{item{"a": 1, "b": 2}, "REMOVE a, nope", nil, item{"b": 2.0}},
			change{item{"n": 1}, "ADD n :v, k :v", item{":v": 2}, item{"n": 3.0, "k": 2.0}},
			change{item{"a": 1}, "SET c = :v REMOVE a ADD n :v", item{":v": 1}, item{"c": 1.0, "n": 1.0}})},
		{"DynamoDB: update, sets", "ADD and DELETE; an empty set is removed", updates, updateSets},
		{"DynamoDB: update, return values", "NONE, ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATED_NEW", "APIReference/API_UpdateItem", returnValues},
	}
	for _, c := range []refusal{
		{"syntax", "SET a = = :v", "", item{":v": 1}, nil, "Syntax error"},
		{"reserved word", "SET status = :v", "", item{":v": 1}, nil, "reserved keyword"},
		{"value not defined", "SET a = :v", "", nil, nil, ":v"},
		{"value not used", "SET a = :v", "", item{":v": 1, ":w": 1}, nil, ":w"},
		{"name not defined", "SET #a = :v", "", item{":v": 1}, nil, "#a"},
		{"name not used", "SET a = :v", "", item{":v": 1}, map[string]string{"#x": "x"}, "#x"},
		{"same path twice", "SET a = :v, a = :v", "", item{":v": 1}, nil, "overlap"},
		{"overlapping paths", "SET a = :v, a.b = :v", "", item{":v": 1}, nil, "overlap"},
		{"key in an update", "SET pk = :v", "", item{":v": "b"}, nil, "part of the key"},
		{"adding to text", "SET s = s + :v", "", item{":v": 1}, nil, "type"},
		{"adding to nothing", "SET nope = nope + :v", "", item{":v": 1}, nil, "does not exist"},
		{"appending to text", "SET s = list_append(s, :v)", "", item{":v": []any{1}}, nil, "type"},
		{"path into text", "SET s.x = :v", "", item{":v": 1}, nil, "document path"},
		{"path into nothing", "SET nope.x = :v", "", item{":v": 1}, nil, "document path"},
		{"two SETs", "SET a = :v SET b = :v", "", item{":v": 1}, nil, ""},
		{"unknown function", "SET a = :v", "exists(a)", item{":v": 1}, nil, "exists"},
		{"BETWEEN backwards", "SET a = :v", "n BETWEEN :b AND :a", item{":v": 1, ":a": 1, ":b": 2}, nil, ""},
		{"empty expression", "", "", nil, nil, "empty"},
		{"index key of another type", "SET holder = :v", "", item{":v": 1}, nil, "ype mismatch"},
	} {
		all = append(all, behaviour{"DynamoDB: update refused, " + c.name, "ValidationException, and the item is as it was", "APIReference/API_UpdateItem", c.check})
	}
	for _, c := range []struct {
		name string
		item item
		say  string
	}{
		{"no sort key", item{"pk": "a"}, "key"},
		{"key of another type", item{"pk": "a", "sk": "1"}, "Type mismatch for key"},
		{"key of 2049 bytes", item{"pk": strings.Repeat("x", 2049), "sk": 1}, ""},
		{"empty key", item{"pk": "", "sk": 1}, "empty string"},
		{"index key of another type", item{"pk": "a", "sk": 1, "holder": 5}, "Type mismatch for Index Key"},
		{"empty index key", item{"pk": "a", "sk": 1, "holder": "", "at": "x"}, "holder"},
	} {
		all = append(all, behaviour{"DynamoDB: put refused, " + c.name, "ValidationException", "APIReference/API_PutItem", func(t *T) {
			t.refuses("put", newTable(t).tryPut(c.item), "ValidationException", c.say)
		}})
	}
	for _, c := range []struct {
		name string
		query
		say string
	}{
		{"no hash key", query{key: "sk = :s", values: item{":s": 1}}, "Query condition missed key schema element"},
		{"range of hash keys", query{key: "pk > :p", values: item{":p": "a"}}, "key condition"},
		{"no key attribute", query{key: "pk = :p AND n = :n", values: item{":p": "a", ":n": 1}}, "Query condition missed key schema element"},
		{"BETWEEN backwards", query{key: "pk = :p AND sk BETWEEN :b AND :a", values: item{":p": "a", ":a": 1, ":b": 2}}, "BETWEEN"},
		{"filter on the key", query{key: "pk = :p", filter: "sk > :n", values: item{":p": "a", ":n": 1}}, "key attribute"},
	} {
		all = append(all, behaviour{"DynamoDB: query refused, " + c.name, "ValidationException", "APIReference/API_Query", func(t *T) {
			tb := newTable(t)
			_, err := tb.c.Query(t.ctx, tb.input(c.query, 10))
			t.refuses("query", err, "ValidationException", c.say)
		}})
	}
	return all
}

// condition holds or not, of the item that holds puts.
type condition struct {
	expr   string
	values item
	holds  bool
}

func holds(conditions ...condition) func(*T) {
	return func(t *T) {
		tb := newTable(t)
		v := tb.item(item{"pk": "c", "sk": 1, "n": 5, "n2": 5, "s": "hello", "l": []any{"a", item{"x": 7}}, "m": item{"k": "v"}, "nothing": nil, "b": true, "status": "OPEN"})
		v["tags"] = &types.AttributeValueMemberSS{Value: []string{"red", "blue"}}
		_, err := tb.c.PutItem(t.ctx, &dynamodb.PutItemInput{TableName: tb.name, Item: v})
		t.must("put", err)
		for _, c := range conditions {
			// Checked by a transaction, which leaves the item as it is.
			err := tb.transact("", types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
				TableName: tb.name, Key: tb.item(key("c", 1)), ConditionExpression: &c.expr, ExpressionAttributeValues: tb.values(c.values),
				ExpressionAttributeNames: names(c.expr, "#s", "status"),
			}})
			if (err == nil) != c.holds {
				t.Errorf("%s %v: %v, must hold: %v", c.expr, c.values, err, c.holds)
			}
		}
	}
}

func conditionFails(t *T) {
	tb := newTable(t)
	tb.put(item{"pk": "c", "sk": 1, "s": "hello"})
	put := &dynamodb.PutItemInput{TableName: tb.name, Item: tb.item(key("c", 1)), ConditionExpression: aws.String("attribute_not_exists(pk)"), ReturnValuesOnConditionCheckFailure: "ALL_OLD"}
	_, err := tb.c.PutItem(t.ctx, put)
	same(t, "put", tb.failedItem(err), item{"pk": "c", "sk": 1.0, "s": "hello"})
	put.ReturnValuesOnConditionCheckFailure = ""
	_, err = tb.c.PutItem(t.ctx, put)
	same(t, "put without", tb.failedItem(err), nil)
	_, err = tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(key("c", 1)), UpdateExpression: aws.String("SET s = :v"),
		ExpressionAttributeValues: tb.item(item{":v": "x"}), ConditionExpression: aws.String("s = :v"), ReturnValuesOnConditionCheckFailure: "ALL_OLD"})
	same(t, "update", tb.failedItem(err), item{"pk": "c", "sk": 1.0, "s": "hello"})
	_, err = tb.c.DeleteItem(t.ctx, &dynamodb.DeleteItemInput{TableName: tb.name, Key: tb.item(key("c", 1)), ConditionExpression: aws.String("attribute_not_exists(s)"), ReturnValuesOnConditionCheckFailure: "ALL_OLD"})
	same(t, "delete", tb.failedItem(err), item{"pk": "c", "sk": 1.0, "s": "hello"})
}

// change is an update of an item.
type change struct {
	before item
	expr   string
	values item
	after  item
}

func updating(changes ...change) func(*T) {
	return func(t *T) {
		tb := newTable(t)
		for n, c := range changes {
			full := func(v item) item {
				all := item{"pk": "u", "sk": float64(n)}
				for name, v := range v {
					all[name] = v
				}
				return all
			}
			if c.before != nil {
				tb.put(full(c.before))
			}
			out, err := tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(key("u", n)), UpdateExpression: &c.expr,
				ExpressionAttributeValues: tb.values(c.values), ReturnValues: "ALL_NEW"})
			if err != nil {
				t.Errorf("%s: %v", c.expr, err)
				continue
			}
			same(t, c.expr, tb.get(key("u", n)), full(c.after))
			same(t, c.expr+" ALL_NEW", tb.plain(out.Attributes), full(c.after))
		}
	}
}

func updateSets(t *T) {
	tb := newTable(t)
	set := func(expr string, members ...string) []string {
		out, err := tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(key("sets", 1)), UpdateExpression: &expr,
			ExpressionAttributeValues: values{":v": &types.AttributeValueMemberSS{Value: members}}, ReturnValues: "UPDATED_NEW"})
		t.must(expr, err)
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
	same(t, "DELETE all", set("DELETE tags :v", "b", "c"), nil)
	same(t, "an empty set is none", tb.get(key("sets", 1)), item{"pk": "sets", "sk": 1.0})
}

func returnValues(t *T) {
	tb := newTable(t)
	for _, c := range []struct {
		ask types.ReturnValue
		get item
	}{
		{"NONE", nil}, {"ALL_OLD", item{"pk": "a", "sk": 1.0, "a": 1.0, "b": 2.0}}, {"UPDATED_OLD", item{"a": 1.0}},
		{"ALL_NEW", item{"pk": "a", "sk": 1.0, "a": 3.0, "b": 2.0}}, {"UPDATED_NEW", item{"a": 3.0}},
	} {
		tb.put(item{"pk": "a", "sk": 1, "a": 1, "b": 2})
		out, err := tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(key("a", 1)), UpdateExpression: aws.String("SET a = :v"),
			ExpressionAttributeValues: tb.item(item{":v": 3}), ReturnValues: c.ask})
		t.must("update", err)
		same(t, string(c.ask), tb.plain(out.Attributes), c.get)
	}
}

// refusal is an update that AWS refuses.
type refusal struct {
	name, expr, cond string
	values           item
	names            map[string]string
	say              string // a part of AWS's message
}

func (c refusal) check(t *T) {
	tb := newTable(t)
	before := item{"pk": "a", "sk": 1.0, "n": 1.0, "s": "x"}
	tb.put(before)
	in := &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(key("a", 1)), UpdateExpression: &c.expr, ExpressionAttributeValues: tb.values(c.values), ExpressionAttributeNames: c.names}
	if c.cond != "" {
		in.ConditionExpression = &c.cond
	}
	_, err := tb.c.UpdateItem(t.ctx, in)
	t.refuses(fmt.Sprintf("%q", c.expr), err, "ValidationException", c.say)
	same(t, "the item afterwards", tb.get(key("a", 1)), before)
}
