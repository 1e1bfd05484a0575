package dynamodb

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string, change func(*Options)) *Service {
	t.Helper()
	o := Options{Logger: zerolog.Nop()}
	if change != nil {
		change(&o)
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// call makes one request and returns status and body.
func call(s *Service, op, body string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", targetPrefix+op)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func must(t testing.TB, s *Service, op, body string) string {
	t.Helper()
	code, out := call(s, op, body)
	if code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", op, body, code, out)
	}
	return out
}

const createAccounts = `{"TableName":"accounts","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"bank","AttributeType":"S"}],
"GlobalSecondaryIndexes":[{"IndexName":"byBank","KeySchema":[{"AttributeName":"bank","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]}`

func put(id string, n int) string {
	return fmt.Sprintf(`{"TableName":"accounts","Item":{"id":{"S":%q},"bank":{"S":"b"},"n":{"N":"%d"}}}`, id, n)
}

func transfer(from, to string, n int, token string) string {
	update := `{"Update":{"TableName":"accounts","Key":{"id":{"S":%q}},"UpdateExpression":"SET n = n + :d","ConditionExpression":"n >= :least","ExpressionAttributeValues":{":d":{"N":"%d"},":least":{"N":"%d"}}}}`
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
	if err := json.Unmarshal([]byte(must(t, s, "GetItem", fmt.Sprintf(`{"TableName":"accounts","Key":{"id":{"S":%q}}}`, id))), &out); err != nil {
		t.Fatal(err)
	}
	return out.Item.N.N
}

func TestReopeningKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	must(t, s, "CreateTable", createAccounts)
	for n := range 50 {
		must(t, s, "PutItem", put(fmt.Sprint("a", n), n))
	}
	must(t, s, "DeleteItem", `{"TableName":"accounts","Key":{"id":{"S":"a0"}}}`)
	must(t, s, "TransactWriteItems", transfer("a40", "a1", 7, ""))
	must(t, s, "UpdateTimeToLive", `{"TableName":"accounts","TimeToLiveSpecification":{"AttributeName":"ttl","Enabled":true}}`)
	must(t, s, "CreateTable", strings.ReplaceAll(createAccounts, `"accounts"`, `"gone"`))
	must(t, s, "DeleteTable", `{"TableName":"gone"}`)
	for round := range 2 { // from the log, then from a snapshot
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(dir, Options{Logger: zerolog.Nop()}); err != nil {
			t.Fatal(err)
		}
		if a, b := balance(t, s, "a40"), balance(t, s, "a1"); a != 33 || b != 8 {
			t.Errorf("balances %d and %d", a, b)
		}
		out := must(t, s, "Query", `{"TableName":"accounts","IndexName":"byBank","KeyConditionExpression":"bank = :b","ExpressionAttributeValues":{":b":{"S":"b"}},"Select":"COUNT"}`)
		if !strings.Contains(out, `"Count":49`) {
			t.Errorf("the index has %s", out)
		}
		if out := must(t, s, "DescribeTimeToLive", `{"TableName":"accounts"}`); !strings.Contains(out, `"ttl"`) {
			t.Error(out)
		}
		if out := must(t, s, "ListTables", `{}`); out != `{"TableNames":["accounts"]}` {
			t.Error(out)
		}
		if round == 0 {
			if err := s.journal.Compact(s.snapshot); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTransfersConserveTheSum(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	must(t, s, "CreateTable", createAccounts)
	const accounts, each = 8, 100
	for n := range accounts {
		must(t, s, "PutItem", put(fmt.Sprint(n), each))
	}
	var g sync.WaitGroup
	for w := range 16 {
		g.Go(func() {
			for n := range 100 {
				from, to := (w*7+n)%accounts, (w*3+n*5+1)%accounts
				if from == to {
					continue
				}
				if code, out := call(s, "TransactWriteItems", transfer(fmt.Sprint(from), fmt.Sprint(to), n%30, "")); code != 200 && !strings.Contains(out, "ConditionalCheckFailed") {
					t.Error(out)
				}
			}
		})
	}
	g.Wait()
	sum := 0
	for n := range accounts {
		b := balance(t, s, fmt.Sprint(n))
		if b < 0 {
			t.Errorf("account %d is overdrawn: %d", n, b)
		}
		sum += b
	}
	if sum != accounts*each {
		t.Errorf("the sum became %d", sum)
	}
}

func TestInjectedConflict(t *testing.T) {
	s := open(t, "", func(o *Options) {
		o.Fault = func(op string, _ []string) error {
			if op == "TransactWriteItems" {
				return Conflict()
			}
			return nil
		}
	})
	must(t, s, "CreateTable", createAccounts)
	must(t, s, "PutItem", put("a", 1))
	must(t, s, "PutItem", put("b", 1))
	code, out := call(s, "TransactWriteItems", transfer("a", "b", 1, ""))
	if code != 400 || !strings.Contains(out, "TransactionCanceledException") || !strings.Contains(out, `"Code":"TransactionConflict"`) {
		t.Errorf("%d %s", code, out)
	}
}

func TestTokensAreForgottenAfterTenMinutes(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	s := open(t, "", func(o *Options) { o.Now = func() time.Time { return now } })
	must(t, s, "CreateTable", createAccounts)
	must(t, s, "PutItem", put("a", 100))
	must(t, s, "PutItem", put("b", 0))
	for range 3 {
		must(t, s, "TransactWriteItems", transfer("a", "b", 10, "token"))
	}
	if b := balance(t, s, "b"); b != 10 {
		t.Errorf("one token had the effect %d", b)
	}
	now = now.Add(tokenLife + time.Second)
	must(t, s, "TransactWriteItems", transfer("a", "b", 10, "token"))
	if b := balance(t, s, "b"); b != 20 {
		t.Errorf("after the token's life: %d", b)
	}
	// What failed leaves its token free.
	if code, _ := call(s, "TransactWriteItems", transfer("a", "b", 1000, "again")); code == 200 {
		t.Error("overdrawn")
	}
	must(t, s, "TransactWriteItems", transfer("a", "b", 1, "again"))
}

func TestContentOf(t *testing.T) {
	same := []string{`{"a":1,"b":[1,{"c":"x","d":null}]}`, ` { "b" : [1,{"d":null, "c":"x"}], "a":1 } `}
	if contentOf([]byte(same[0])) != contentOf([]byte(same[1])) {
		t.Error("the order of members counts")
	}
	for _, other := range []string{`{"a":2,"b":[1,{"c":"x","d":null}]}`, `{"b":1,"a":[1,{"c":"x","d":null}]}`, `{"a":1,"b":[{"c":"x","d":null},1]}`,
		`{"a":1,"b":[1,{"c":null,"d":"x"}]}`, `{"a":1,"b":[1,{"c":"x","d":null}],"e":{}}`, `{"a":"1","b":[1,{"c":"x","d":null}]}`, `{}`, ``} {
		if contentOf([]byte(other)) == contentOf([]byte(same[0])) {
			t.Errorf("%s counts as the same", other)
		}
	}
}

func TestExpiredItemsGo(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	s := open(t, "", func(o *Options) { o.Now = func() time.Time { return now } })
	must(t, s, "CreateTable", createAccounts)
	must(t, s, "UpdateTimeToLive", `{"TableName":"accounts","TimeToLiveSpecification":{"AttributeName":"ttl","Enabled":true}}`)
	for id, at := range map[string]int64{"old": now.Unix() - 1, "young": now.Unix() + 100} {
		must(t, s, "PutItem", fmt.Sprintf(`{"TableName":"accounts","Item":{"id":{"S":%q},"ttl":{"N":"%d"}}}`, id, at))
	}
	s.expire()
	out := must(t, s, "Scan", `{"TableName":"accounts"}`)
	if strings.Contains(out, `"old"`) || !strings.Contains(out, `"young"`) {
		t.Error(out)
	}
}

func TestUnknownOperation(t *testing.T) {
	s := open(t, "", nil)
	if code, out := call(s, "ExecuteStatement", `{}`); code != 400 || !strings.Contains(out, "UnknownOperationException") {
		t.Errorf("%d %s", code, out)
	}
	if code, out := call(s, "GetItem", `{"TableName":`); code != 400 || !strings.Contains(out, "SerializationException") {
		t.Errorf("%d %s", code, out)
	}
}

func BenchmarkService(b *testing.B) {
	s := open(b, b.TempDir(), nil)
	must(b, s, "CreateTable", createAccounts)
	for n := range 100 {
		must(b, s, "PutItem", put(fmt.Sprint(n), 1_000_000_000))
	}
	run := func(name, op string, body func(n int) string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				must(b, s, op, body(n))
			}
		})
	}
	run("GetItem", "GetItem", func(n int) string { return fmt.Sprintf(`{"TableName":"accounts","Key":{"id":{"S":"%d"}}}`, n%100) })
	run("PutItem", "PutItem", func(n int) string { return put(fmt.Sprint("p", n), n) })
	run("TransactWriteItems of 2", "TransactWriteItems", func(n int) string {
		return transfer(fmt.Sprint(n%100), fmt.Sprint((n+1)%100), 1, fmt.Sprint("t", n))
	})
}

// TestIndexOfUpdateTable has what was there before it, and is there after a
// restart; one that was removed is not.
func TestIndexOfUpdateTable(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	must(t, s, "CreateTable", createAccounts)
	must(t, s, "PutItem", put("before", 1))
	must(t, s, "UpdateTable", `{"TableName":"accounts","AttributeDefinitions":[{"AttributeName":"n","AttributeType":"N"}],
		"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"byN","KeySchema":[{"AttributeName":"n","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}}]}`)
	must(t, s, "PutItem", put("after", 1))
	must(t, s, "UpdateTable", `{"TableName":"accounts","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"byBank"}}]}`)
	if code, out := call(s, "PutItem", `{"TableName":"accounts","Item":{"id":{"S":"x"},"n":{"S":"text"}}}`); code != 400 || !strings.Contains(out, "Type mismatch for Index Key n") {
		t.Errorf("a key of the wrong type: %d %s", code, out)
	}
	look := func(s *Service) {
		t.Helper()
		out := must(t, s, "Query", `{"TableName":"accounts","IndexName":"byN","KeyConditionExpression":"n = :n","ExpressionAttributeValues":{":n":{"N":"1"}}}`)
		if !strings.Contains(out, `"before"`) || !strings.Contains(out, `"after"`) || strings.Contains(out, "bank") {
			t.Error(out)
		}
		if code, out := call(s, "Query", `{"TableName":"accounts","IndexName":"byBank","KeyConditionExpression":"bank = :b","ExpressionAttributeValues":{":b":{"S":"b"}}}`); code != 400 {
			t.Errorf("an index that was removed: %d %s", code, out)
		}
	}
	look(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	look(open(t, dir, nil))
}
