package conformance

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"
)

const transact = "APIReference/API_TransactWriteItems"

func transactions() []behaviour {
	return []behaviour{
		{"DynamoDB: transaction", "all of it is written", transact, transactionWrites},
		{"DynamoDB: transaction cancelled", "nothing of it is written; a reason for each item, in order: None or ConditionalCheckFailed", transact, transactionCancelled},
		{"DynamoDB: transaction cancelled, the item that failed", "ReturnValuesOnConditionCheckFailure ALL_OLD gives it with its reason", transact, transactionItem},
		{"DynamoDB: transaction, an invalid item", "one that the tables do not take cancels it with ValidationError as its reason", transact, transactionInvalid},
		{"DynamoDB: transaction with an item twice", "ValidationException", transact, transactionTwice},
		{"DynamoDB: transaction of 100", "100 items are taken, 101 not", transact, transactionSize},
		{"DynamoDB: transaction, 4 MB", "more in one transaction is ValidationException", transact, transactionBytes},
		{"DynamoDB: transaction, token", "the same ClientRequestToken has one effect", transact, transactionToken},
		{"DynamoDB: transaction, token with other content", "IdempotentParameterMismatchException", transact, transactionTokenMismatch},
		{"DynamoDB: transactions at once", "each is written, or cancelled with TransactionConflict; no update is lost", "developerguide/transaction-apis", transactionsAtOnce},
		{"DynamoDB: conditional updates at once", "a condition is checked and its update written as one: what is there can't be taken twice", "developerguide/WorkingWithItems", updatesAtOnce},
		{"DynamoDB: transactional read", "gives what is there, with projections, in order", "APIReference/API_TransactGetItems", transactionReads},
	}
}

func (t dbTable) transact(token string, items ...types.TransactWriteItem) error {
	in := &dynamodb.TransactWriteItemsInput{TransactItems: items}
	if token != "" {
		in.ClientRequestToken = &token
	}
	_, err := t.c.TransactWriteItems(t.ctx, in)
	return err
}

func (t dbTable) add(pk string, n int, condition string) types.TransactWriteItem {
	u := &types.Update{TableName: t.name, Key: t.item(key(pk, 1)), UpdateExpression: aws.String("SET n = n + :n"), ExpressionAttributeValues: t.item(item{":n": n})}
	if condition != "" {
		u.ConditionExpression = &condition
	}
	return types.TransactWriteItem{Update: u}
}

func (t dbTable) reasons(err error) []types.CancellationReason {
	cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok {
		t.Fatalf("%v, want TransactionCanceledException", err)
	}
	return cancelled.CancellationReasons
}

func codes(reasons []types.CancellationReason) (out []string) {
	for _, r := range reasons {
		out = append(out, aws.ToString(r.Code))
	}
	return out
}

// ab has two items, with 10 and 0.
func ab(t *T) dbTable {
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "n": 10}, item{"pk": "b", "sk": 1, "n": 0})
	return tb
}

func transactionWrites(t *T) {
	tb := ab(t)
	t.must("write", tb.transact("", tb.add("a", -3, "n >= :n"), tb.add("b", 3, ""),
		types.TransactWriteItem{Put: &types.Put{TableName: tb.name, Item: tb.item(key("new", 1)), ConditionExpression: aws.String("attribute_not_exists(pk)")}}))
	same(t, "a", tb.get(key("a", 1))["n"], 7.0)
	same(t, "b", tb.get(key("b", 1))["n"], 3.0)
	same(t, "new", tb.get(key("new", 1)), item{"pk": "new", "sk": 1.0})
}

func transactionCancelled(t *T) {
	tb := ab(t)
	err := tb.transact("", tb.add("b", 1, ""), tb.add("a", 1, "n < :n"),
		types.TransactWriteItem{Put: &types.Put{TableName: tb.name, Item: tb.item(key("new", 1))}},
		types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: tb.name, Key: tb.item(key("c", 1)), ConditionExpression: aws.String("attribute_exists(pk)")}})
	same(t, "reasons", codes(tb.reasons(err)), []string{"None", "ConditionalCheckFailed", "None", "ConditionalCheckFailed"})
	same(t, "a", tb.get(key("a", 1))["n"], 10.0)
	same(t, "b", tb.get(key("b", 1))["n"], 0.0)
	same(t, "new", tb.get(key("new", 1)), nil)
}

func transactionItem(t *T) {
	tb := ab(t)
	with := tb.add("a", 1, "n < :n")
	with.Update.ReturnValuesOnConditionCheckFailure = "ALL_OLD"
	reasons := tb.reasons(tb.transact("", with, tb.add("b", 1, "n > :n")))
	if len(reasons) != 2 {
		t.Fatalf("%d reasons, want 2", len(reasons))
	}
	same(t, "asked for", tb.plain(reasons[0].Item), item{"pk": "a", "sk": 1.0, "n": 10.0})
	same(t, "not asked for", tb.plain(reasons[1].Item), nil)
}

func transactionInvalid(t *T) {
	tb := ab(t)
	tb.put(item{"pk": "c", "sk": 1, "n": "text"})
	reasons := tb.reasons(tb.transact("", tb.add("a", 1, ""), tb.add("c", 1, "")))
	same(t, "reasons", codes(reasons), []string{"None", "ValidationError"})
	same(t, "a", tb.get(key("a", 1))["n"], 10.0)
}

func transactionTwice(t *T) {
	tb := ab(t)
	t.refuses("write", tb.transact("", tb.add("a", 1, ""), tb.add("a", 1, "")), "ValidationException", "multiple operations on one item")
}

func (t dbTable) puts(n int, v item) (out []types.TransactWriteItem) {
	for n := range n {
		v["pk"], v["sk"] = "many", n
		out = append(out, types.TransactWriteItem{Put: &types.Put{TableName: t.name, Item: t.item(v)}})
	}
	return out
}

func transactionSize(t *T) {
	tb := newTable(t)
	t.refuses("101", tb.transact("", tb.puts(101, item{})...), "ValidationException", "100")
	if err := tb.transact("", tb.puts(100, item{})...); err != nil {
		t.Errorf("100: %v", err)
	}
}

func transactionBytes(t *T) {
	tb := newTable(t)
	t.refuses("write", tb.transact("", tb.puts(11, item{"s": strings.Repeat("x", 390<<10)})...), "ValidationException", "")
}

func transactionToken(t *T) {
	tb, token := ab(t), uuid.NewString()
	for range 3 {
		t.must("write", tb.transact(token, tb.add("a", 1, "")))
	}
	same(t, "n", tb.get(key("a", 1))["n"], 11.0)
}

func transactionTokenMismatch(t *T) {
	tb, token := ab(t), uuid.NewString()
	t.must("write", tb.transact(token, tb.add("a", 1, "")))
	typed[*types.IdempotentParameterMismatchException](t, "other content", tb.transact(token, tb.add("a", 2, "")))
	same(t, "n", tb.get(key("a", 1))["n"], 11.0)
}

// atOnce calls f often and from many goroutines, and counts how often it is true.
func atOnce(f func() bool) int {
	var done atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				if f() {
					done.Add(1)
				}
			}
		})
	}
	all.Wait()
	return int(done.Load())
}

func transactionsAtOnce(t *T) {
	tb := ab(t)
	tb.put(item{"pk": "a", "sk": 1, "n": 1000})
	var mu sync.Mutex
	write := []types.TransactWriteItem{tb.add("a", -1, ""), tb.add("b", 1, "")}
	done := atOnce(func() bool {
		err := tb.transact("", write...)
		if err == nil {
			return true
		}
		mu.Lock()
		defer mu.Unlock()
		cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
		if !ok {
			t.Errorf("%v, want TransactionCanceledException", err)
			return false
		}
		for _, code := range codes(cancelled.CancellationReasons) {
			if code != "None" && code != "TransactionConflict" {
				t.Errorf("cancelled for %s", code)
			}
		}
		return false
	})
	if done == 0 {
		t.Errorf("none was written")
	}
	same(t, "a", tb.get(key("a", 1))["n"], float64(1000-done))
	same(t, "b", tb.get(key("b", 1))["n"], float64(done))
}

func updatesAtOnce(t *T) {
	tb := ab(t)
	var mu sync.Mutex
	in := &dynamodb.UpdateItemInput{TableName: tb.name, Key: tb.item(key("a", 1)), UpdateExpression: aws.String("SET n = n - :one"),
		ConditionExpression: aws.String("n >= :one"), ExpressionAttributeValues: tb.item(item{":one": 1})}
	done := atOnce(func() bool {
		_, err := tb.c.UpdateItem(t.ctx, in)
		if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); err != nil && !refused {
			mu.Lock()
			defer mu.Unlock()
			t.Errorf("%v", err)
		}
		return err == nil
	})
	same(t, "taken", done, 10)
	same(t, "left", tb.get(key("a", 1))["n"], 0.0)
}

func transactionReads(t *T) {
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "n": 10, "s": "x"})
	get := func(pk, projection string) types.TransactGetItem {
		g := &types.Get{TableName: tb.name, Key: tb.item(key(pk, 1))}
		if projection != "" {
			g.ProjectionExpression = &projection
		}
		return types.TransactGetItem{Get: g}
	}
	out, err := tb.c.TransactGetItems(t.ctx, &dynamodb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{get("a", "s"), get("nope", "")}})
	t.must("read", err)
	if len(out.Responses) != 2 {
		t.Fatalf("%d answers, want 2", len(out.Responses))
	}
	same(t, "found", tb.plain(out.Responses[0].Item), item{"s": "x"})
	same(t, "not found", len(out.Responses[1].Item), 0)
}
