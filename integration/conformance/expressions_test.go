package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const (
	operators = "developerguide/Expressions.OperatorsAndFunctions"
	updates   = "developerguide/Expressions.UpdateExpressions"
)

func expressions() []behaviour {
	all := []behaviour{
		{
			name: "DynamoDB: conditions, comparisons", page: operators,
			documented: "values of one type are compared; a value of another type, or a missing one, is only unequal",
			check: evaluates(
				matches("n = :v", item{":v": 5}),
				fails("n <> :v", item{":v": 5}),
				matches("n < :v", item{":v": 6}),
				fails("n >= :v", item{":v": 6}),
				fails("n = :v", item{":v": "5"}),
				matches("n <> :v", item{":v": "5"}),
				fails("n < :v", item{":v": "6"}),
				matches("s > :v", item{":v": "hell"}),
				fails("nope = :v", item{":v": 1}),
				matches("nope <> :v", item{":v": 1}),
				fails("m.k = s", nil),
				matches("n = n2", nil),
				matches("b = :v", item{":v": true}),
				matches("l = :v", item{":v": []any{"a", item{"x": 7}}}),
			),
		},
		{
			name: "DynamoDB: conditions, BETWEEN and IN", page: operators,
			documented: "BETWEEN includes its bounds, IN matches any value of a list",
			check: evaluates(
				matches("n BETWEEN :a AND :b", item{":a": 5, ":b": 5}),
				fails("n BETWEEN :a AND :b", item{":a": 6, ":b": 9}),
				matches("s IN (:a, :b)", item{":a": "x", ":b": "hello"}),
				fails("s IN (:a)", item{":a": "x"}),
				fails("nope IN (:a)", item{":a": "x"}),
			),
		},
		{
			name: "DynamoDB: conditions, functions", page: operators,
			documented: "attribute_exists, attribute_not_exists, attribute_type, begins_with, contains, size",
			check: evaluates(
				matches("attribute_exists(l[1].x)", nil),
				fails("attribute_exists(l[2])", nil),
				matches("attribute_not_exists(m.nope)", nil),
				matches("attribute_exists(nothing)", nil),
				matches("attribute_type(nothing, :t)", item{":t": "NULL"}),
				matches("attribute_type(tags, :t)", item{":t": "SS"}),
				fails("attribute_type(n, :t)", item{":t": "S"}),
				matches("begins_with(s, :v)", item{":v": "hel"}),
				fails("begins_with(s, :v)", item{":v": "x"}),
				matches("contains(s, :v)", item{":v": "ell"}),
				matches("contains(tags, :v)", item{":v": "red"}),
				matches("contains(l, :v)", item{":v": "a"}),
				fails("contains(l, :v)", item{":v": "z"}),
				matches("size(s) = :v", item{":v": 5}),
				matches("size(l) > :v", item{":v": 1}),
				matches("size(tags) = :v", item{":v": 2}),
			),
		},
		{
			name: "DynamoDB: conditions, logic", page: operators,
			documented: "NOT binds most tightly, then AND, then OR; parentheses override this",
			check: evaluates(
				matches("NOT n = :v", item{":v": 4}),
				fails("n = :v AND s = :w", item{":v": 5, ":w": "x"}),
				matches("n = :v OR s = :w", item{":v": 5, ":w": "x"}),
				matches("n = :x OR n = :v AND s = :w", item{":x": 5, ":v": 1, ":w": "x"}),
				fails("(n = :x OR n = :v) AND s = :w", item{":x": 5, ":v": 1, ":w": "x"}),
				matches("NOT (n = :x OR s = :w)", item{":x": 1, ":w": "x"}),
				matches("#s IN (:v, :w) AND (attribute_not_exists(gone) OR attribute_exists(nope))", item{":v": "OPEN", ":w": "X"}),
			),
		},
		{
			name: "DynamoDB: conditions, item of a failed one", page: "APIReference/API_PutItem", check: conditionFails,
			documented: "ReturnValuesOnConditionCheckFailure ALL_OLD returns it; otherwise it is not returned",
		},
		{
			name: "DynamoDB: update, arithmetic", page: updates,
			documented: "SET adds and subtracts, if_not_exists supplies the initial value",
			check: applies(
				change{expr: "SET a = :v", values: item{":v": 1}, after: item{"a": 1.0}},
				change{
					expr: "SET a = if_not_exists(a, :z) + :v, b = if_not_exists(b, :z)", values: item{":z": 0, ":v": 2},
					after: item{"a": 2.0, "b": 0.0},
				},
				change{before: item{"a": 5}, expr: "SET a = a - :v, b = a", values: item{":v": 2}, after: item{"a": 3.0, "b": 5.0}},
				change{before: item{"a": 1, "b": 2}, expr: "SET a = b, b = a", after: item{"a": 2.0, "b": 1.0}},
			),
		},
		{
			name: "DynamoDB: update, list_append", page: updates,
			documented: "it appends and prepends, also to the result of if_not_exists",
			check: applies(
				change{
					before: item{"l": []any{"x"}}, expr: "SET l = list_append(l, :v)", values: item{":v": []any{"y"}},
					after: item{"l": []any{"x", "y"}},
				},
				change{
					before: item{"l": []any{"x"}}, expr: "SET l = list_append(:v, l)", values: item{":v": []any{"y"}},
					after: item{"l": []any{"y", "x"}},
				},
				change{
					expr: "SET l = list_append(if_not_exists(l, :e), :v)", values: item{":e": []any{}, ":v": []any{1}},
					after: item{"l": []any{1.0}},
				},
			),
		},
		{
			name: "DynamoDB: update, list elements", page: updates,
			documented: "elements are set and removed by index; an index past the end appends",
			check: applies(
				change{
					before: item{"l": []any{"a", "b", "c"}}, expr: "SET l[1] = :v REMOVE l[2]", values: item{":v": "B"},
					after: item{"l": []any{"a", "B"}},
				},
				change{before: item{"l": []any{"a"}}, expr: "SET l[9] = :v", values: item{":v": "b"}, after: item{"l": []any{"a", "b"}}},
			),
		},
		{
			name: "DynamoDB: update, nested", page: updates,
			documented: "paths refer to values in maps",
			check: applies(
				change{
					before: item{"m": item{"x": item{"y": 1}}}, expr: "SET m.x.y = m.x.y + :v, m.z = :v", values: item{":v": 1},
					after: item{"m": map[string]any{"x": map[string]any{"y": 2.0}, "z": 1.0}},
				},
			),
		},
		{
			name: "DynamoDB: update, REMOVE and ADD", page: updates,
			documented: "both accept missing attributes",
			check: applies(
				change{before: item{"a": 1, "b": 2}, expr: "REMOVE a, nope", after: item{"b": 2.0}},
				change{before: item{"n": 1}, expr: "ADD n :v, k :v", values: item{":v": 2}, after: item{"n": 3.0, "k": 2.0}},
				change{before: item{"a": 1}, expr: "SET c = :v REMOVE a ADD n :v", values: item{":v": 1}, after: item{"c": 1.0, "n": 1.0}},
			),
		},
		{
			name: "DynamoDB: update, sets", page: updates, check: updateSets,
			documented: "ADD and DELETE change a set; an empty set is removed",
		},
		{
			name: "DynamoDB: update, return values", page: "APIReference/API_UpdateItem", check: returnValues,
			documented: "NONE, ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATED_NEW",
		},
	}
	for _, c := range []rejection{
		{name: "syntax error", expr: "SET a = = :v", values: item{":v": 1}, message: "Syntax error"},
		{name: "reserved word", expr: "SET status = :v", values: item{":v": 1}, message: "reserved keyword"},
		{name: "undefined value", expr: "SET a = :v", message: ":v"},
		{name: "unused value", expr: "SET a = :v", values: item{":v": 1, ":w": 1}, message: ":w"},
		{name: "undefined name", expr: "SET #a = :v", values: item{":v": 1}, message: "#a"},
		{name: "unused name", expr: "SET a = :v", values: item{":v": 1}, names: map[string]string{"#x": "x"}, message: "#x"},
		{name: "same path twice", expr: "SET a = :v, a = :v", values: item{":v": 1}, message: "overlap"},
		{name: "overlapping paths", expr: "SET a = :v, a.b = :v", values: item{":v": 1}, message: "overlap"},
		{name: "key attribute", expr: "SET pk = :v", values: item{":v": "b"}, message: "part of the key"},
		{name: "addition to a string", expr: "SET s = s + :v", values: item{":v": 1}, message: "type"},
		{name: "addition to a missing attribute", expr: "SET nope = nope + :v", values: item{":v": 1}, message: "does not exist"},
		{name: "append to a string", expr: "SET s = list_append(s, :v)", values: item{":v": []any{1}}, message: "type"},
		{name: "path into a string", expr: "SET s.x = :v", values: item{":v": 1}, message: "document path"},
		{name: "path into a missing attribute", expr: "SET nope.x = :v", values: item{":v": 1}, message: "document path"},
		{name: "two SET clauses", expr: "SET a = :v SET b = :v", values: item{":v": 1}},
		{name: "unknown function", expr: "SET a = :v", condition: "exists(a)", values: item{":v": 1}, message: "exists"},
		{
			name: "BETWEEN with reversed bounds", expr: "SET a = :v", condition: "n BETWEEN :b AND :a",
			values: item{":v": 1, ":a": 1, ":b": 2},
		},
		{name: "empty expression", expr: "", message: "empty"},
		{name: "index key of another type", expr: "SET holder = :v", values: item{":v": 1}, message: "ype mismatch"},
	} {
		all = append(all, behaviour{
			name: "DynamoDB: update rejected, " + c.name, page: "APIReference/API_UpdateItem", check: c.check,
			documented: "ValidationException, and the item is unchanged",
		})
	}
	for _, c := range []struct {
		name    string
		item    item
		message string
	}{
		{"missing sort key", item{"pk": "a"}, "key"},
		{"key of another type", item{"pk": "a", "sk": "1"}, "Type mismatch for key"},
		{"key of 2049 bytes", item{"pk": strings.Repeat("x", 2049), "sk": 1}, ""},
		{"empty key", item{"pk": "", "sk": 1}, "empty string"},
		{"index key of another type", item{"pk": "a", "sk": 1, "holder": 5}, "Type mismatch for Index Key"},
		{"empty index key", item{"pk": "a", "sk": 1, "holder": "", "at": "x"}, "holder"},
	} {
		all = append(all, behaviour{
			name: "DynamoDB: put rejected, " + c.name, documented: "ValidationException", page: "APIReference/API_PutItem",
			check: func(t *T) { t.wantError("put", newTable(t).tryPut(c.item), "ValidationException", c.message) },
		})
	}
	for _, c := range []struct {
		name    string
		query   query
		message string
	}{
		{"missing hash key", query{key: "sk = :s", values: item{":s": 1}}, "Query condition missed key schema element"},
		{"range of hash keys", query{key: "pk > :p", values: item{":p": "a"}}, "key condition"},
		{
			"attribute outside the key",
			query{key: "pk = :p AND n = :n", values: item{":p": "a", ":n": 1}},
			"Query condition missed key schema element",
		},
		{
			"BETWEEN with reversed bounds",
			query{key: "pk = :p AND sk BETWEEN :b AND :a", values: item{":p": "a", ":a": 1, ":b": 2}},
			"BETWEEN",
		},
		{"filter on the key", query{key: "pk = :p", filter: "sk > :n", values: item{":p": "a", ":n": 1}}, "key attribute"},
	} {
		all = append(all, behaviour{
			name: "DynamoDB: query rejected, " + c.name, documented: "ValidationException", page: "APIReference/API_Query",
			check: func(t *T) {
				tb := newTable(t)
				_, err := tb.c.Query(t.ctx, tb.input(c.query, 10))
				t.wantError("query", err, "ValidationException", c.message)
			},
		})
	}
	return all
}

// condition is a condition on the item that evaluates puts.
type condition struct {
	expr   string
	values item
	want   bool // it is true
}

func matches(expr string, values item) condition {
	return condition{expr: expr, values: values, want: true}
}

func fails(expr string, values item) condition {
	return condition{expr: expr, values: values, want: false}
}

// evaluates returns a check of conditions.
func evaluates(conditions ...condition) func(*T) {
	return func(t *T) {
		tb := newTable(t)
		v := tb.item(item{
			"pk": "c", "sk": 1, "n": 5, "n2": 5, "s": "hello", "l": []any{"a", item{"x": 7}}, "m": item{"k": "v"},
			"nothing": nil, "b": true, "status": "OPEN",
		})
		v["tags"] = &types.AttributeValueMemberSS{Value: []string{"red", "blue"}}
		_, err := tb.c.PutItem(t.ctx, &dynamodb.PutItemInput{TableName: tb.name, Item: v})
		t.noError("put", err)
		for _, c := range conditions {
			// A transaction checks the condition without changing the item.
			err := tb.transact("", types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
				TableName: tb.name, Key: tb.item(key("c", 1)), ConditionExpression: &c.expr, ExpressionAttributeValues: tb.values(c.values),
				ExpressionAttributeNames: names(c.expr, "#s", "status"),
			}})
			if (err == nil) != c.want {
				t.Errorf("%s with %v: condition is true = %v (error %v), want %v", c.expr, c.values, err == nil, err, c.want)
			}
		}
	}
}

func conditionFails(t *T) {
	tb := newTable(t)
	tb.put(item{"pk": "c", "sk": 1, "s": "hello"})
	put := &dynamodb.PutItemInput{
		TableName: tb.name, Item: tb.item(key("c", 1)), ConditionExpression: aws.String("attribute_not_exists(pk)"),
		ReturnValuesOnConditionCheckFailure: "ALL_OLD",
	}
	_, err := tb.c.PutItem(t.ctx, put)
	equal(t, "put", tb.failedItem(err), item{"pk": "c", "sk": 1.0, "s": "hello"})
	put.ReturnValuesOnConditionCheckFailure = ""
	_, err = tb.c.PutItem(t.ctx, put)
	equal(t, "put without", tb.failedItem(err), nil)
	_, err = tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{
		TableName: tb.name, Key: tb.item(key("c", 1)), UpdateExpression: aws.String("SET s = :v"),
		ExpressionAttributeValues: tb.item(item{":v": "x"}), ConditionExpression: aws.String("s = :v"),
		ReturnValuesOnConditionCheckFailure: "ALL_OLD",
	})
	equal(t, "update", tb.failedItem(err), item{"pk": "c", "sk": 1.0, "s": "hello"})
	_, err = tb.c.DeleteItem(t.ctx, &dynamodb.DeleteItemInput{
		TableName: tb.name, Key: tb.item(key("c", 1)), ConditionExpression: aws.String("attribute_not_exists(s)"),
		ReturnValuesOnConditionCheckFailure: "ALL_OLD",
	})
	equal(t, "delete", tb.failedItem(err), item{"pk": "c", "sk": 1.0, "s": "hello"})
}

// change is an update of an item, which does not exist before if before is nil.
type change struct {
	before item
	expr   string
	values item
	after  item
}

// applies returns a check of updates.
func applies(changes ...change) func(*T) {
	return func(t *T) {
		tb := newTable(t)
		for n, c := range changes {
			full := func(v item) item {
				all := item{"pk": "u", "sk": float64(n)}
				maps.Copy(all, v)
				return all
			}
			if c.before != nil {
				tb.put(full(c.before))
			}
			out, err := tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{
				TableName: tb.name, Key: tb.item(key("u", n)), UpdateExpression: &c.expr,
				ExpressionAttributeValues: tb.values(c.values), ReturnValues: "ALL_NEW",
			})
			if err != nil {
				t.Errorf("%s: update failed: %v", c.expr, err)
				continue
			}
			equal(t, c.expr, tb.get(key("u", n)), full(c.after))
			equal(t, c.expr+" ALL_NEW", tb.plain(out.Attributes), full(c.after))
		}
	}
}

func updateSets(t *T) {
	tb := newTable(t)
	set := func(expr string, members ...string) []string {
		out, err := tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{
			TableName: tb.name, Key: tb.item(key("sets", 1)), UpdateExpression: &expr,
			ExpressionAttributeValues: values{":v": &types.AttributeValueMemberSS{Value: members}}, ReturnValues: "UPDATED_NEW",
		})
		t.noError(expr, err)
		ss, _ := out.Attributes["tags"].(*types.AttributeValueMemberSS)
		if ss == nil {
			return nil
		}
		slices.Sort(ss.Value)
		return ss.Value
	}
	equal(t, "ADD to no set", set("ADD tags :v", "b", "a"), []string{"a", "b"})
	equal(t, "ADD to a set", set("ADD tags :v", "b", "c"), []string{"a", "b", "c"})
	equal(t, "DELETE", set("DELETE tags :v", "a", "x"), []string{"b", "c"})
	equal(t, "DELETE all", set("DELETE tags :v", "b", "c"), nil)
	equal(t, "the item with the empty set", tb.get(key("sets", 1)), item{"pk": "sets", "sk": 1.0})
}

func returnValues(t *T) {
	tb := newTable(t)
	for _, c := range []struct {
		request types.ReturnValue
		want    item
	}{
		{"NONE", nil},
		{"ALL_OLD", item{"pk": "a", "sk": 1.0, "a": 1.0, "b": 2.0}},
		{"UPDATED_OLD", item{"a": 1.0}},
		{"ALL_NEW", item{"pk": "a", "sk": 1.0, "a": 3.0, "b": 2.0}},
		{"UPDATED_NEW", item{"a": 3.0}},
	} {
		tb.put(item{"pk": "a", "sk": 1, "a": 1, "b": 2})
		out, err := tb.c.UpdateItem(t.ctx, &dynamodb.UpdateItemInput{
			TableName: tb.name, Key: tb.item(key("a", 1)), UpdateExpression: aws.String("SET a = :v"),
			ExpressionAttributeValues: tb.item(item{":v": 3}), ReturnValues: c.request,
		})
		t.noError("update", err)
		equal(t, string(c.request), tb.plain(out.Attributes), c.want)
	}
}

// rejection is an update that AWS rejects.
type rejection struct {
	name, expr, condition string
	values                item
	names                 map[string]string
	message               string // a part of AWS's message
}

func (c rejection) check(t *T) {
	tb := newTable(t)
	before := item{"pk": "a", "sk": 1.0, "n": 1.0, "s": "x"}
	tb.put(before)
	in := &dynamodb.UpdateItemInput{
		TableName: tb.name, Key: tb.item(key("a", 1)), UpdateExpression: &c.expr,
		ExpressionAttributeValues: tb.values(c.values), ExpressionAttributeNames: c.names,
	}
	if c.condition != "" {
		in.ConditionExpression = &c.condition
	}
	_, err := tb.c.UpdateItem(t.ctx, in)
	t.wantError(fmt.Sprintf("%q", c.expr), err, "ValidationException", c.message)
	equal(t, "the item afterwards", tb.get(key("a", 1)), before)
}
