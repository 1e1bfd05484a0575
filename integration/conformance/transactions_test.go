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
		{
			name: "DynamoDB: transaction", page: transact, check: transactionWrites,
			documented: "all its actions are applied",
		},
		{
			name: "DynamoDB: transaction cancelled", page: transact, check: transactionCancelled,
			documented: "none of its actions is applied; each has a reason, in order: None or ConditionalCheckFailed",
		},
		{
			name: "DynamoDB: transaction cancelled, item of a failed condition", page: transact, check: transactionItem,
			documented: "ReturnValuesOnConditionCheckFailure ALL_OLD returns it with its reason",
		},
		{
			name: "DynamoDB: transaction cancelled, invalid item", page: transact, check: transactionInvalid,
			documented: "an item that its table rejects cancels the transaction with the reason ValidationError",
		},
		{
			name: "DynamoDB: transaction, duplicate item", page: transact, check: transactionDuplicateItem,
			documented: "ValidationException",
		},
		{
			name: "DynamoDB: transaction, number of items", page: transact, check: transactionSize,
			documented: "100 items are accepted, 101 are not",
		},
		{
			name: "DynamoDB: transaction, size", page: transact, check: transactionBytes,
			documented: "more than 4 MB in total is ValidationException",
		},
		{
			name: "DynamoDB: transaction, token", page: transact, check: transactionToken,
			documented: "requests with the same ClientRequestToken are applied once",
		},
		{
			name: "DynamoDB: transaction, token of another request", page: transact, check: transactionTokenMismatch,
			documented: "IdempotentParameterMismatchException",
		},
		{
			name: "DynamoDB: concurrent transactions", page: "developerguide/transaction-apis", check: concurrentTransactions,
			documented: "each is applied, or cancelled with TransactionConflict; no update is lost",
		},
		{
			name: "DynamoDB: concurrent conditional updates", page: "developerguide/WorkingWithItems", check: concurrentUpdates,
			documented: "condition and update are atomic: nothing can be taken twice",
		},
		{
			name: "DynamoDB: transactional read", page: "APIReference/API_TransactGetItems", check: transactionReads,
			documented: "existing items are returned in order, with projections",
		},
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
	u := &types.Update{
		TableName: t.name, Key: t.item(key(pk, 1)), UpdateExpression: aws.String("SET n = n + :n"),
		ExpressionAttributeValues: t.item(item{":n": n}),
	}
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

// twoItems returns a table with the items a, whose n is 10, and b, whose n is 0.
func twoItems(t *T) dbTable {
	tb := newTable(t)
	tb.put(item{"pk": "a", "sk": 1, "n": 10}, item{"pk": "b", "sk": 1, "n": 0})
	return tb
}

func transactionWrites(t *T) {
	tb := twoItems(t)
	t.noError("write", tb.transact("", tb.add("a", -3, "n >= :n"), tb.add("b", 3, ""),
		types.TransactWriteItem{
			Put: &types.Put{TableName: tb.name, Item: tb.item(key("new", 1)), ConditionExpression: aws.String("attribute_not_exists(pk)")},
		}))
	equal(t, "a", tb.get(key("a", 1))["n"], 7.0)
	equal(t, "b", tb.get(key("b", 1))["n"], 3.0)
	equal(t, "new", tb.get(key("new", 1)), item{"pk": "new", "sk": 1.0})
}

func transactionCancelled(t *T) {
	tb := twoItems(t)
	err := tb.transact("", tb.add("b", 1, ""), tb.add("a", 1, "n < :n"),
		types.TransactWriteItem{Put: &types.Put{TableName: tb.name, Item: tb.item(key("new", 1))}},
		types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
			TableName: tb.name, Key: tb.item(key("c", 1)), ConditionExpression: aws.String("attribute_exists(pk)"),
		}})
	equal(t, "reasons", codes(tb.reasons(err)), []string{"None", "ConditionalCheckFailed", "None", "ConditionalCheckFailed"})
	equal(t, "a", tb.get(key("a", 1))["n"], 10.0)
	equal(t, "b", tb.get(key("b", 1))["n"], 0.0)
	equal(t, "new", tb.get(key("new", 1)), nil)
}

func transactionItem(t *T) {
	tb := twoItems(t)
	with := tb.add("a", 1, "n < :n")
	with.Update.ReturnValuesOnConditionCheckFailure = "ALL_OLD"
	reasons := tb.reasons(tb.transact("", with, tb.add("b", 1, "n > :n")))
	if len(reasons) != 2 {
		t.Fatalf("%d reasons, want 2", len(reasons))
	}
	equal(t, "item on request", tb.plain(reasons[0].Item), item{"pk": "a", "sk": 1.0, "n": 10.0})
	equal(t, "item without a request", tb.plain(reasons[1].Item), nil)
}

func transactionInvalid(t *T) {
	tb := twoItems(t)
	tb.put(item{"pk": "c", "sk": 1, "n": "text"})
	reasons := tb.reasons(tb.transact("", tb.add("a", 1, ""), tb.add("c", 1, "")))
	equal(t, "reasons", codes(reasons), []string{"None", "ValidationError"})
	equal(t, "a", tb.get(key("a", 1))["n"], 10.0)
}

func transactionDuplicateItem(t *T) {
	tb := twoItems(t)
	t.wantError("write", tb.transact("", tb.add("a", 1, ""), tb.add("a", 1, "")), "ValidationException", "multiple operations on one item")
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
	t.wantError("101", tb.transact("", tb.puts(101, item{})...), "ValidationException", "100")
	if err := tb.transact("", tb.puts(100, item{})...); err != nil {
		t.Errorf("transaction with 100 items failed: %v", err)
	}
}

func transactionBytes(t *T) {
	tb := newTable(t)
	t.wantError("write", tb.transact("", tb.puts(11, item{"s": strings.Repeat("x", 390<<10)})...), "ValidationException", "")
}

func transactionToken(t *T) {
	tb, token := twoItems(t), uuid.NewString()
	for range 3 {
		t.noError("write", tb.transact(token, tb.add("a", 1, "")))
	}
	equal(t, "n", tb.get(key("a", 1))["n"], 11.0)
}

func transactionTokenMismatch(t *T) {
	tb, token := twoItems(t), uuid.NewString()
	t.noError("write", tb.transact(token, tb.add("a", 1, "")))
	wantErrorType[*types.IdempotentParameterMismatchException](t, "other content", tb.transact(token, tb.add("a", 2, "")))
	equal(t, "n", tb.get(key("a", 1))["n"], 11.0)
}

// concurrently calls f five times in each of eight goroutines, and returns how often it was
// true.
func concurrently(f func() bool) int {
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

func concurrentTransactions(t *T) {
	tb := twoItems(t)
	tb.put(item{"pk": "a", "sk": 1, "n": 1000})
	var mu sync.Mutex
	write := []types.TransactWriteItem{tb.add("a", -1, ""), tb.add("b", 1, "")}
	done := concurrently(func() bool {
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
				t.Errorf("cancelled with the reason %s, want TransactionConflict", code)
			}
		}
		return false
	})
	if done == 0 {
		t.Errorf("every transaction was cancelled, want at least one to be applied")
	}
	equal(t, "a", tb.get(key("a", 1))["n"], float64(1000-done))
	equal(t, "b", tb.get(key("b", 1))["n"], float64(done))
}

func concurrentUpdates(t *T) {
	tb := twoItems(t)
	var mu sync.Mutex
	in := &dynamodb.UpdateItemInput{
		TableName: tb.name, Key: tb.item(key("a", 1)), UpdateExpression: aws.String("SET n = n - :one"),
		ConditionExpression: aws.String("n >= :one"), ExpressionAttributeValues: tb.item(item{":one": 1}),
	}
	done := concurrently(func() bool {
		_, err := tb.c.UpdateItem(t.ctx, in)
		if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); err != nil && !failed {
			mu.Lock()
			defer mu.Unlock()
			t.Errorf("update failed: %v, want success or ConditionalCheckFailedException", err)
		}
		return err == nil
	})
	equal(t, "taken", done, 10)
	equal(t, "left", tb.get(key("a", 1))["n"], 0.0)
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
	out, err := tb.c.TransactGetItems(t.ctx, &dynamodb.TransactGetItemsInput{
		TransactItems: []types.TransactGetItem{get("a", "s"), get("nope", "")},
	})
	t.noError("read", err)
	if len(out.Responses) != 2 {
		t.Fatalf("%d responses, want 2", len(out.Responses))
	}
	equal(t, "found", tb.plain(out.Responses[0].Item), item{"s": "x"})
	equal(t, "not found", len(out.Responses[1].Item), 0)
}
