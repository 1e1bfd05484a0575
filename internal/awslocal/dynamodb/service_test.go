package dynamodb

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string, change func(*Options)) *Service {
	t.Helper()
	o := Options{Logger: zerolog.Nop()}
	if change != nil {
		change(&o)
	}
	s, err := Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close failed: %v", err)
		}
	})
	return s
}

// call makes one request and returns the response's status and body.
func call(s *Service, op, body string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", targetPrefix+op)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// request makes one request that must succeed, and returns the response's body.
func request(t testing.TB, s *Service, op, body string) string {
	t.Helper()
	code, out := call(s, op, body)
	if code != http.StatusOK {
		t.Fatalf("%s with %s: response = %d %s, want 200", op, body, code, out)
	}
	return out
}

const createAccounts = `{
	"TableName":"accounts","BillingMode":"PAY_PER_REQUEST",
	"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],
	"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"bank","AttributeType":"S"}],
	"GlobalSecondaryIndexes":[{
		"IndexName":"byBank","KeySchema":[{"AttributeName":"bank","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}
	}]
}`

const queryByBank = `{
	"TableName":"accounts","IndexName":"byBank","KeyConditionExpression":"bank = :b",
	"ExpressionAttributeValues":{":b":{"S":"b"}},"Select":"COUNT"
}`

const enableTTL = `{"TableName":"accounts","TimeToLiveSpecification":{"AttributeName":"ttl","Enabled":true}}`

func put(id string, n int) string {
	return fmt.Sprintf(`{"TableName":"accounts","Item":{"id":{"S":%q},"bank":{"S":"b"},"n":{"N":"%d"}}}`, id, n)
}

// transfer returns a transaction that moves n from one account to another, if the balance
// suffices.
func transfer(from, to string, n int, token string) string {
	update := `{"Update":{
		"TableName":"accounts","Key":{"id":{"S":%q}},"UpdateExpression":"SET n = n + :d","ConditionExpression":"n >= :least",
		"ExpressionAttributeValues":{":d":{"N":"%d"},":least":{"N":"%d"}}}}`
	return fmt.Sprintf(`{"ClientRequestToken":%q,"TransactItems":[`+update+`,`+update+`]}`, token, from, -n, n, to, n, 0)
}

func balance(t testing.TB, s *Service, id string) int {
	t.Helper()
	var out struct {
		Item struct {
			N struct {
				N int `json:",string"`
			} `json:"n"`
		}
	}
	body := request(t, s, "GetItem", fmt.Sprintf(`{"TableName":"accounts","Key":{"id":{"S":%q}}}`, id))
	require.NoError(t, json.Unmarshal([]byte(body), &out))
	return out.Item.N.N
}

func TestReopenKeepsTablesItemsAndIndexes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	request(t, s, "CreateTable", createAccounts)
	for n := range 50 {
		request(t, s, "PutItem", put(fmt.Sprint("a", n), n))
	}
	request(t, s, "DeleteItem", `{"TableName":"accounts","Key":{"id":{"S":"a0"}}}`)
	request(t, s, "TransactWriteItems", transfer("a40", "a1", 7, ""))
	request(t, s, "UpdateTimeToLive", enableTTL)
	request(t, s, "CreateTable", strings.ReplaceAll(createAccounts, `"accounts"`, `"deleted"`))
	request(t, s, "DeleteTable", `{"TableName":"deleted"}`)
	for round := range 2 { // first from the log, then from a snapshot
		require.NoError(t, s.Close())
		s, err = Open(dir, Options{Logger: zerolog.Nop()})
		require.NoError(t, err)
		if a, b := balance(t, s, "a40"), balance(t, s, "a1"); a != 33 || b != 8 {
			t.Errorf("balances of a40 and a1 = %d and %d, want 33 and 8", a, b)
		}
		if out := request(t, s, "Query", queryByBank); !strings.Contains(out, `"Count":49`) {
			t.Errorf("query of the index = %s, want a count of 49", out)
		}
		if out := request(t, s, "DescribeTimeToLive", `{"TableName":"accounts"}`); !strings.Contains(out, `"ttl"`) {
			t.Errorf("DescribeTimeToLive = %s, want the attribute ttl", out)
		}
		if out := request(t, s, "ListTables", `{}`); out != `{"TableNames":["accounts"]}` {
			t.Errorf("ListTables = %s, want only accounts", out)
		}
		if round == 0 {
			require.NoError(t, s.journal.Compact(s.snapshot))
		}
	}
	require.NoError(t, s.Close())
}

func TestTransfersConserveTheSum(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	request(t, s, "CreateTable", createAccounts)
	const accounts, each = 8, 100
	for n := range accounts {
		request(t, s, "PutItem", put(strconv.Itoa(n), each))
	}
	var g sync.WaitGroup
	for w := range 16 {
		g.Go(func() {
			for n := range 100 {
				from, to := (w*7+n)%accounts, (w*3+n*5+1)%accounts
				if from == to {
					continue
				}
				code, out := call(s, "TransactWriteItems", transfer(strconv.Itoa(from), strconv.Itoa(to), n%30, ""))
				if code != http.StatusOK && !strings.Contains(out, "ConditionalCheckFailed") {
					t.Errorf("transfer failed with %d %s, want success or ConditionalCheckFailed", code, out)
				}
			}
		})
	}
	g.Wait()
	sum := 0
	for n := range accounts {
		b := balance(t, s, strconv.Itoa(n))
		if b < 0 {
			t.Errorf("balance of account %d = %d, want at least 0", n, b)
		}
		sum += b
	}
	if sum != accounts*each {
		t.Errorf("sum of the balances = %d, want %d", sum, accounts*each)
	}
}

func TestInjectedConflictCancelsTransaction(t *testing.T) {
	t.Parallel()
	s := open(t, "", func(o *Options) {
		o.Fault = func(op string, _ []string) error {
			if op == "TransactWriteItems" {
				return Conflict()
			}
			return nil
		}
	})
	request(t, s, "CreateTable", createAccounts)
	request(t, s, "PutItem", put("a", 1))
	request(t, s, "PutItem", put("b", 1))
	code, out := call(s, "TransactWriteItems", transfer("a", "b", 1, ""))
	if code != 400 || !strings.Contains(out, "TransactionCanceledException") || !strings.Contains(out, `"Code":"TransactionConflict"`) {
		t.Errorf("response = %d %s, want 400 with TransactionCanceledException for TransactionConflict", code, out)
	}
}

func TestRequestTokensExpireAfterTenMinutes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	s := open(t, "", func(o *Options) { o.Now = func() time.Time { return now } })
	request(t, s, "CreateTable", createAccounts)
	request(t, s, "PutItem", put("a", 100))
	request(t, s, "PutItem", put("b", 0))
	for range 3 {
		request(t, s, "TransactWriteItems", transfer("a", "b", 10, "token"))
	}
	if b := balance(t, s, "b"); b != 10 {
		t.Errorf("balance after three requests with one token = %d, want 10", b)
	}
	now = now.Add(tokenTTL + time.Second)
	request(t, s, "TransactWriteItems", transfer("a", "b", 10, "token"))
	if b := balance(t, s, "b"); b != 20 {
		t.Errorf("balance after a request with the expired token = %d, want 20", b)
	}
	// A failed request does not use up its token.
	if code, _ := call(s, "TransactWriteItems", transfer("a", "b", 1000, "failed")); code == http.StatusOK {
		t.Error("a transfer of more than the balance succeeded, want an error")
	}
	request(t, s, "TransactWriteItems", transfer("a", "b", 1, "failed"))
}

func TestContentHashIgnoresOrderOfMembers(t *testing.T) {
	t.Parallel()
	same := []string{`{"a":1,"b":[1,{"c":"x","d":null}]}`, ` { "b" : [1,{"d":null, "c":"x"}], "a":1 } `}
	if contentHash([]byte(same[0])) != contentHash([]byte(same[1])) {
		t.Error("the hash depends on white space or on the order of members, want the same hash")
	}
	for _, other := range []string{
		`{"a":2,"b":[1,{"c":"x","d":null}]}`, `{"b":1,"a":[1,{"c":"x","d":null}]}`, `{"a":1,"b":[{"c":"x","d":null},1]}`,
		`{"a":1,"b":[1,{"c":null,"d":"x"}]}`, `{"a":1,"b":[1,{"c":"x","d":null}],"e":{}}`, `{"a":"1","b":[1,{"c":"x","d":null}]}`,
		`{}`, ``,
	} {
		if contentHash([]byte(other)) == contentHash([]byte(same[0])) {
			t.Errorf("the hash of %s equals that of %s, want another", other, same[0])
		}
	}
}

func TestExpiredItemsAreRemoved(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	s := open(t, "", func(o *Options) { o.Now = func() time.Time { return now } })
	request(t, s, "CreateTable", createAccounts)
	request(t, s, "UpdateTimeToLive", enableTTL)
	for id, at := range map[string]int64{"old": now.Unix() - 1, "young": now.Unix() + 100} {
		request(t, s, "PutItem", fmt.Sprintf(`{"TableName":"accounts","Item":{"id":{"S":%q},"ttl":{"N":"%d"}}}`, id, at))
	}
	s.expire()
	out := request(t, s, "Scan", `{"TableName":"accounts"}`)
	if strings.Contains(out, `"old"`) || !strings.Contains(out, `"young"`) {
		t.Errorf("Scan after the expiry = %s, want only the item young", out)
	}
}

func TestInvalidRequestsAreRejected(t *testing.T) {
	t.Parallel()
	s := open(t, "", nil)
	if code, out := call(s, "ExecuteStatement", `{}`); code != 400 || !strings.Contains(out, "UnknownOperationException") {
		t.Errorf("ExecuteStatement: response = %d %s, want 400 with UnknownOperationException", code, out)
	}
	if code, out := call(s, "GetItem", `{"TableName":`); code != 400 || !strings.Contains(out, "SerializationException") {
		t.Errorf("malformed JSON: response = %d %s, want 400 with SerializationException", code, out)
	}
}

func BenchmarkService(b *testing.B) {
	s := open(b, b.TempDir(), nil)
	request(b, s, "CreateTable", createAccounts)
	for n := range 100 {
		request(b, s, "PutItem", put(strconv.Itoa(n), 1_000_000_000))
	}
	run := func(name, op string, body func(n int) string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				request(b, s, op, body(n))
			}
		})
	}
	run("GetItem", "GetItem", func(n int) string { return fmt.Sprintf(`{"TableName":"accounts","Key":{"id":{"S":"%d"}}}`, n%100) })
	run("PutItem", "PutItem", func(n int) string { return put(fmt.Sprint("p", n), n) })
	run("TransactWriteItems of 2", "TransactWriteItems", func(n int) string {
		return transfer(strconv.Itoa(n%100), strconv.Itoa((n+1)%100), 1, fmt.Sprint("t", n))
	})
}

// TestUpdateTableAddsAndRemovesIndexes checks that a new index has the items that are older
// than it, and that the indexes are the same after a restart.
func TestUpdateTableAddsAndRemovesIndexes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	request(t, s, "CreateTable", createAccounts)
	request(t, s, "PutItem", put("before", 1))
	request(t, s, "UpdateTable", `{"TableName":"accounts","AttributeDefinitions":[{"AttributeName":"n","AttributeType":"N"}],
		"GlobalSecondaryIndexUpdates":[{"Create":{
			"IndexName":"byN","KeySchema":[{"AttributeName":"n","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}}]}`)
	request(t, s, "PutItem", put("after", 1))
	request(t, s, "UpdateTable", `{"TableName":"accounts","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"byBank"}}]}`)
	code, out := call(s, "PutItem", `{"TableName":"accounts","Item":{"id":{"S":"x"},"n":{"S":"text"}}}`)
	if code != 400 || !strings.Contains(out, "Type mismatch for Index Key n") {
		t.Errorf("item with an index key of the wrong type: response = %d %s, want 400 with a type mismatch", code, out)
	}
	checkIndexes := func(s *Service) {
		t.Helper()
		out := request(t, s, "Query", `{"TableName":"accounts","IndexName":"byN","KeyConditionExpression":"n = :n",
			"ExpressionAttributeValues":{":n":{"N":"1"}}}`)
		if !strings.Contains(out, `"before"`) || !strings.Contains(out, `"after"`) || strings.Contains(out, "bank") {
			t.Errorf("query of the new index = %s, want the keys of the items before and after", out)
		}
		if code, out := call(s, "Query", queryByBank); code != 400 {
			t.Errorf("query of the removed index: response = %d %s, want 400", code, out)
		}
	}
	checkIndexes(s)
	require.NoError(t, s.Close())
	checkIndexes(open(t, dir, nil))
}
