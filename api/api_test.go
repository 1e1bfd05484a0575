package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestPlacedOrderCanBeFollowedUntilItEnds(t *testing.T) {
	c := start(t)
	for _, path := range []string{"/v1/orders", "/v1/sagas"} {
		id := "o" + strings.ReplaceAll(path, "/", "-")
		body := newOrder(id, nil)
		first := c.post(path, body)
		if first.status != http.StatusAccepted || first.header.Get("Location") != "/v1/sagas/"+id {
			t.Fatalf("%s: status = %d, headers = %v, body = %s, want 202 and Location /v1/sagas/%s",
				path, first.status, first.header, first.body, id)
		}
		c.until(id, "COMPLETED")
		if again := c.post(path, body); again.status != first.status || again.body != first.body ||
			again.header.Get("Location") != first.header.Get("Location") {
			t.Errorf("%s again: status = %d, Location = %s, body = %s, want as before: %d, %s, %s", path,
				again.status, again.header.Get("Location"), again.body, first.status, first.header.Get("Location"), first.body)
		}
		c.post(path, newOrder(id, expensive)).wantProblem(t, path+" with other content", http.StatusConflict, "body.orderId", "different order")
		// The order has ended before its saga has written that down.
		testkit.Eventually(t, "the saga has ended too", func() error {
			if v := c.until(id, "COMPLETED"); v.RuntimeStatus != "COMPLETED" || v.Cancellable || v.ShipmentID == "" {
				return fmt.Errorf("%+v", v)
			}
			return nil
		})
		h := c.get("/v1/sagas/" + id + "/history")
		var events struct{ Events []struct{ Type, Name string } }
		h.json(t, &events)
		if n := len(events.Events); n < 10 || !strings.Contains(h.body, "ChargePayment") {
			t.Errorf("history has %d events, want at least 10 and ChargePayment among them: %+v", n, events.Events)
		}
		for _, a := range []answer{h, c.get("/v1/sagas/" + id), c.get("/v1/sagas")} {
			if strings.Contains(a.body, "tok_ok") {
				t.Errorf("body = %s, want it without the payment token tok_ok", a.body)
			}
		}
	}
	if l := c.get("/v1/stock/A"); l.body != `{"sku":"A","available":999996,"reserved":0,"sold":4,"received":1000000,`+
		`"version":"1000000-4-1"}`+"\n" {
		t.Errorf("stock = %v, want 4 of 1000000 sold, none reserved, version 1000000-4-1", l.body)
	}
}

// TestConflictIsInTheResponse: the response rejects a different order with the same id,
// however soon after the first one it arrives. It does not become a dead letter.
func TestConflictIsInTheResponse(t *testing.T) {
	c := start(t)
	for n := range 20 {
		id := fmt.Sprint("o", n)
		if a := c.post("/v1/orders", newOrder(id, nil)); a.status != http.StatusAccepted {
			t.Fatalf("status = %v, body = %v, want 202", a.status, a.body)
		}
		c.post("/v1/orders", newOrder(id, expensive)).wantProblem(t, "other content", http.StatusConflict, "body.orderId", "different order")
	}
}

func TestOrdersReachEveryStatus(t *testing.T) {
	c := start(t)
	token := func(tok string) func(*order.Order) { return func(o *order.Order) { o.Payment.Token = tok } }
	both := func(f, g func(*order.Order)) func(*order.Order) { return func(o *order.Order) { f(o); g(o) } }
	for status, o := range map[string]string{
		"COMPLETED":         newOrder("completed", nil),
		"REJECTED":          newOrder("rejected", func(o *order.Order) { o.Lines = append(o.Lines, order.Line{SKU: "NONE", Quantity: 1}) }),
		"DECLINED":          newOrder("declined", token("tok_declined")),
		"FAILED":            newOrder("failed", shipTo("REFUSE")),
		"AWAITING_APPROVAL": newOrder("awaiting", expensive),
		"NEEDS_ATTENTION":   newOrder("attention", both(token("tok_refund_down"), shipTo("REFUSE"))),
		"PAID":              newOrder("paid", shipTo("SILENT")),
	} {
		c.place(o, status)
	}
	c.place(newOrder("cancelled", expensive), "AWAITING_APPROVAL")
	if a := c.post("/v1/sagas/cancelled/cancel", ""); a.status != http.StatusAccepted {
		t.Errorf("status = %v, body = %v, want 202", a.status, a.body)
	}
	c.until("cancelled", "CANCELLED")
	// RESERVED lasts as long as the charge does; PENDING until a worker comes.
	c.place(newOrder("reserved", token("tok_down")), "RESERVED")
	c.StopWorker()
	if _, created, err := c.Store.Accept(t.Context(), mustParse(t, newOrder("pending", nil))); err != nil || !created {
		t.Fatalf("created = %v, error = %v, want a new order", created, err)
	}
	rec, err := c.Store.Get(t.Context(), "pending")
	if err != nil || rec.Status != order.StatusPending {
		t.Errorf("status = %s, error = %v, want %s", rec.Status, err, order.StatusPending)
	}
}

// TestLinesOfOneSKUAreAddedUp: an order may name a SKU on several lines.
func TestLinesOfOneSKUAreAddedUp(t *testing.T) {
	c := start(t)
	c.place(newOrder("o", func(o *order.Order) { o.Lines = append(o.Lines, o.Lines[0], o.Lines[0]) }), "COMPLETED")
	if l := c.get("/v1/stock/A"); !strings.Contains(l.body, `"sold":6,`) {
		t.Errorf("stock = %v, want 6 sold: three lines of 2", l.body)
	}
}

// TestRepeatedRequestPublishesARecordedOrder: the process may crash after it recorded the
// order and before it published it. The client's retry publishes it.
func TestRepeatedRequestPublishesARecordedOrder(t *testing.T) {
	c := start(t)
	body := newOrder("o", nil)
	if _, created, err := c.Store.Accept(t.Context(), mustParse(t, body)); err != nil || !created {
		t.Fatalf("created = %v, error = %v, want a new order", created, err)
	}
	c.post("/v1/orders", newOrder("o", expensive)).wantProblem(t, "another order", http.StatusConflict, "body.orderId", "different order")
	c.place(body, "COMPLETED")
}

func mustParse(t testing.TB, body string) order.Order {
	t.Helper()
	o, err := order.Parse([]byte(body))
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	return o
}

func TestListFiltersAndPagesSagas(t *testing.T) {
	t.Parallel()
	c := start(t)
	var want []string
	for n := range 25 {
		id := fmt.Sprintf("l%02d", n)
		change := func(o *order.Order) {
			o.CustomerID = fmt.Sprint("c", n%2)
			if n%5 == 0 {
				o.Payment.Token = "tok_declined"
			}
		}
		until := "COMPLETED"
		if n%5 == 0 {
			until = "DECLINED"
		}
		c.place(newOrder(id, change), until)
		want = append([]string{id}, want...)
	}
	list := func(query string) (ids []string) {
		for cursor := ""; ; {
			a := c.get("/v1/sagas?limit=4" + query + from(cursor))
			var page struct {
				Sagas []sagaView
				Next  string
			}
			a.json(t, &page)
			if a.status != 200 || len(page.Sagas) > 4 {
				t.Fatalf("status = %v, body = %v, want 200 and at most 4 sagas", a.status, a.body)
			}
			for _, s := range page.Sagas {
				ids = append(ids, s.OrderID)
			}
			cursor = page.Next
			if cursor == "" {
				return ids
			}
		}
	}
	keep := func(ok func(n int) bool) (out []string) {
		for i, id := range want {
			if ok(24 - i) {
				out = append(out, id)
			}
		}
		return out
	}
	for query, want := range map[string][]string{
		"":                                   want,
		"&status=DECLINED":                   keep(func(n int) bool { return n%5 == 0 }),
		"&status=DECLINED,COMPLETED":         want,
		"&status=FAILED":                     nil,
		"&customer=c1":                       keep(func(n int) bool { return n%2 == 1 }),
		"&customer=c1&status=DECLINED":       keep(func(n int) bool { return n%2 == 1 && n%5 == 0 }),
		"&since=1h":                          want,
		"&since=0s":                          nil,
		"&since=2001-01-01T00:00:00Z":        want,
		"&since=2999-01-01T00:00:00%2B01:00": nil,
	} {
		if got := list(query); !slices.Equal(got, want) {
			t.Errorf("%s: got %v\nwant %v", query, got, want)
		}
	}
	since := c.view("l20").CreatedAt
	if got := list("&since=" + since); !slices.Equal(got, want[:5]) {
		t.Errorf("since %s, which is l20's time: got %v, want %v", since, got, want[:5])
	}
}

// TestPagesStayStable: an order that arrives between two pages moves no other order.
func TestPagesStayStable(t *testing.T) {
	c := start(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		c.place(newOrder(id, nil), "COMPLETED")
	}
	var got []string
	for cursor := ""; ; {
		var page struct {
			Sagas []sagaView
			Next  string
		}
		c.get("/v1/sagas?limit=2"+from(cursor)).json(t, &page)
		for _, s := range page.Sagas {
			got = append(got, s.OrderID)
		}
		cursor = page.Next
		if cursor == "" {
			break
		}
		c.place(newOrder(fmt.Sprint("late-", len(got)), nil), "COMPLETED")
	}
	if !slices.Equal(got, []string{"d", "c", "b", "a"}) {
		t.Errorf("pages show %v, want [d c b a]", got)
	}
}

func TestStockIsCountedAndListed(t *testing.T) {
	c := start(t)
	put := func(body, against, want string) {
		t.Helper()
		a := c.do("PUT", "/v1/stock/NEW", body, "If-Match", against)
		if l := c.get("/v1/stock/NEW"); a.status != 200 || a.body != want+"\n" || l.body != a.body ||
			l.header.Get("ETag") != a.header.Get("ETag") || !strings.HasSuffix(want, `"version":`+a.header.Get("ETag")+`}`) {
			t.Errorf("PUT: status = %v, body = %v, ETag = %s; GET: body = %v, ETag = %s; want 200, its version as ETag, and from both %s",
				a.status, a.body, a.header.Get("ETag"), l.body, l.header.Get("ETag"), want)
		}
	}
	refused := func(status int, say string, header ...string) {
		t.Helper()
		c.do("PUT", "/v1/stock/NEW", `{"onHand":1}`, header...).wantProblem(t, strings.Join(header, ": "), status, "", say)
	}
	refused(428, "a precondition is required")
	refused(428, "a precondition is required", "If-Match", "*")
	refused(412, "it has no level", "If-Match", `"7-0-1"`)
	if a := c.do("PUT", "/v1/stock/NEW", `{"onHand":7}`, "If-None-Match", "*"); a.status != 200 || a.header.Get("ETag") != `"7-0-1"` {
		t.Errorf(`status = %v, ETag = %s, body = %v, want 200 and ETag "7-0-1"`, a.status, a.header.Get("ETag"), a.body)
	}
	put(`{"onHand":7}`, `"7-0-1"`, `{"sku":"NEW","available":7,"reserved":0,"sold":0,"received":7,"version":"7-0-2"}`)
	c.place(newOrder("held", func(o *order.Order) { expensive(o); o.Lines[0].SKU = "NEW" }), "AWAITING_APPROVAL")
	put(`{"onHand":7}`, `"7-0-1"`, `{"sku":"NEW","available":5,"reserved":2,"sold":0,"received":7,"version":"7-0-2"}`) // once more
	refused(412, "as version 7-0-2: what is on hand has changed since", "If-Match", `"7-0-1"`)
	refused(412, "has changed since", "If-None-Match", "*")
	refused(409, "1 units were counted, and orders hold 2", "If-Match", `"7-0-2"`)
	put(`{"onHand":2}`, `"7-0-2"`, `{"sku":"NEW","available":0,"reserved":2,"sold":0,"received":2,"version":"2-0-3"}`)
	put(
		`{"onHand":1000000000000}`,
		`"2-0-3"`,
		`{"sku":"NEW","available":999999999998,"reserved":2,"sold":0,"received":1000000000000,"version":"1000000000000-0-4"}`,
	)

	var got []string
	for cursor := ""; ; {
		var page struct {
			Stock []struct{ SKU string }
			Next  string
		}
		c.get("/v1/stock?limit=2"+from(cursor)).json(t, &page)
		if len(page.Stock) > 2 {
			t.Errorf("a page has %d SKUs, want at most 2", len(page.Stock))
		}
		for _, l := range page.Stock {
			got = append(got, l.SKU)
		}
		cursor = page.Next
		if cursor == "" {
			break
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"A", "NEW", "NONE"}) {
		t.Errorf("pages show %v, want [A NEW NONE]", got)
	}
}

func TestHealthAndMetricsAreReported(t *testing.T) {
	c := start(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := c.get(path); a.status != 200 || !strings.Contains(a.body, `"ok"`) {
			t.Errorf("path = %v, status = %v, body = %v, want 200 and ok", path, a.status, a.body)
		}
	}
	c.place(newOrder("o", expensive), "AWAITING_APPROVAL")
	testkit.Eventually(t, "the waiting saga is counted", func() error {
		m := c.get("/metrics").body
		for _, say := range []string{
			"\nordersaga_sagas_live 1\n", "\nordersaga_sagas_waiting 1\n",
			`ordersaga_intake_messages_total{outcome="done",queue="orders"} 1`, "ordersaga_http_request_seconds_count{",
		} {
			if !strings.Contains(m, say) {
				return fmt.Errorf("no %q", say)
			}
		}
		return nil
	})
	if a := c.do("HEAD", "/healthz", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD /healthz: status = %d, body = %q, want 200 and no body", a.status, a.body)
	}
	a := c.do("GET", "/healthz", "", "X-Request-Id", "abc-1")
	b := c.do("GET", "/healthz", "", "X-Request-Id", "a b")
	if a.header.Get("X-Request-Id") != "abc-1" || len(b.header.Get("X-Request-Id")) != 36 {
		t.Errorf("request ids %q and %q, want abc-1 as sent, and a new one of 36 characters for an id with a space",
			a.header.Get("X-Request-Id"), b.header.Get("X-Request-Id"))
	}
}

// TestReadyzReportsUnreachableDynamoDB: without DynamoDB the process runs and reports that it
// is not ready.
func TestReadyzReportsUnreachableDynamoDB(t *testing.T) {
	var down atomic.Bool
	s := testkit.NewSystem(t, nil, func(o *awslocal.Options) {
		o.Fault = func(service, _ string) error {
			if service == "dynamodb" && down.Load() {
				return &awslocal.Error{Status: http.StatusBadRequest, Code: "AccessDeniedException", Message: "shut"}
			}
			return nil
		}
	})
	c := newClient(t, s)
	c.place(newOrder("o", nil), "REJECTED") // there is no stock
	down.Store(true)
	c.get("/readyz").wantProblem(t, "/readyz", http.StatusServiceUnavailable, "", "DynamoDB does not answer")
	for _, r := range []string{
		"GET /v1/sagas", "GET /v1/sagas/o", "GET /v1/stock", "GET /v1/stock/A", "PUT /v1/stock/A",
		"POST /v1/sagas/o/cancel", "POST /v1/orders", "POST /v1/sagas", "POST /v1/reconcile",
	} {
		method, path, _ := strings.Cut(r, " ")
		body := map[string]string{
			"PUT /v1/stock/A": `{"onHand":1}`, "POST /v1/orders": newOrder("n", nil),
			"POST /v1/sagas": newOrder("n", nil),
		}[r]
		c.do(method, path, body, "X-Request-Id", "find-me", "If-None-Match", "*").wantProblem(t, r, http.StatusInternalServerError, "", "find-me")
	}
	if a := c.get("/healthz"); a.status != http.StatusOK {
		t.Errorf("/healthz: status = %d, want 200 without DynamoDB", a.status)
	}
	down.Store(false)
	if a := c.get("/readyz"); a.status != http.StatusOK {
		t.Errorf("/readyz: status = %d, body = %s, want 200 once DynamoDB answers", a.status, a.body)
	}
}

func TestOtherSitesCannotAct(t *testing.T) {
	c := start(t)
	for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://elsewhere.example"}} {
		c.do("POST", "/v1/orders", newOrder("x", nil), h...).wantProblem(t, h[0], http.StatusForbidden, "", "page of another origin")
		if a := c.do("GET", "/v1/sagas", "", h...); a.status != http.StatusOK {
			t.Errorf("GET with %s: status = %d, body = %s, want 200: reading is allowed", h[0], a.status, a.body)
		}
	}
}
