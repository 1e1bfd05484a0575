package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestPlaceAndFollow(t *testing.T) {
	c := start(t)
	for _, path := range []string{"/v1/orders", "/v1/sagas"} {
		id := "o" + strings.ReplaceAll(path, "/", "-")
		body := newOrder(id, nil)
		first := c.post(path, body)
		if first.status != http.StatusAccepted || first.header.Get("Location") != "/v1/sagas/"+id {
			t.Fatalf("%s: %d %v %s", path, first.status, first.header, first.body)
		}
		c.until(id, "COMPLETED")
		if again := c.post(path, body); again.status != first.status || again.body != first.body || again.header.Get("Location") != first.header.Get("Location") {
			t.Errorf("%s again: %d %s, was %d %s", path, again.status, again.body, first.status, first.body)
		}
		c.post(path, newOrder(id, expensive)).wantProblem(t, path+" with other content", http.StatusConflict, "body.orderId", "different order")
		v := c.until(id, "COMPLETED")
		if v.RuntimeStatus != "COMPLETED" || v.Cancellable || v.ShipmentID == "" {
			t.Errorf("%+v", v)
		}
		h := c.get("/v1/sagas/" + id + "/history")
		var events struct{ Events []struct{ Type, Name string } }
		h.json(t, &events)
		if n := len(events.Events); n < 10 || !strings.Contains(h.body, "ChargePayment") {
			t.Errorf("history has %d events", n)
		}
		for _, a := range []answer{h, c.get("/v1/sagas/" + id), c.get("/v1/sagas")} {
			if strings.Contains(a.body, "tok_ok") {
				t.Errorf("an answer has the payment token: %s", a.body)
			}
		}
	}
	if l := c.get("/v1/stock/A"); l.body != `{"sku":"A","available":999996,"reserved":0,"sold":4,"received":1000000}`+"\n" {
		t.Error(l.body)
	}
}

// TestConflictIsToldAtOnce: the second order must not vanish into the dead
// letters, however short after the first it comes.
func TestConflictIsToldAtOnce(t *testing.T) {
	c := start(t)
	for n := range 20 {
		id := fmt.Sprint("o", n)
		if a := c.post("/v1/orders", newOrder(id, nil)); a.status != http.StatusAccepted {
			t.Fatal(a.body)
		}
		c.post("/v1/orders", newOrder(id, expensive)).wantProblem(t, "other content", http.StatusConflict, "body.orderId", "different order")
	}
}

func TestAllTenStatuses(t *testing.T) {
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
		t.Error(a.status, a.body)
	}
	c.until("cancelled", "CANCELLED")
	// RESERVED lasts as long as the charge does; PENDING until a worker comes.
	c.place(newOrder("reserved", token("tok_down")), "RESERVED")
	c.StopWorker()
	if _, created, err := c.Store.Accept(t.Context(), mustParse(t, newOrder("pending", nil))); err != nil || !created {
		t.Fatal(created, err)
	}
	rec, err := c.Store.Get(t.Context(), "pending")
	if err != nil || rec.Status != order.StatusPending {
		t.Errorf("%s %v", rec.Status, err)
	}
}

func mustParse(t *testing.T, body string) order.Order {
	t.Helper()
	o, err := order.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestBadRequests(t *testing.T) {
	c := start(t)
	c.place(newOrder("known", nil), "COMPLETED")
	good := newOrder("x", nil)
	for _, r := range []struct {
		request, body string
		status        int
		location, say string
	}{
		{"POST /v1/orders", "", 400, "", "body"},
		{"POST /v1/orders", "{", 422, "body", "JSON"},
		{"POST /v1/orders", "null", 422, "body.orderId", ""},
		{"POST /v1/orders", "[]", 422, "body", ""},
		{"POST /v1/orders", good + good, 422, "body", "after"},
		{"POST /v1/orders", "\xff\xfe", 422, "body", "JSON"},
		{"POST /v1/orders", newOrder("a b", nil), 422, "body.orderId", "1 to 64"},
		{"POST /v1/orders", newOrder("x", func(o *order.Order) { o.CustomerID = "" }), 422, "body.customerId", ""},
		{"POST /v1/orders", newOrder("x", func(o *order.Order) { o.Currency = "€" }), 422, "body.currency", "ISO 4217"},
		{"POST /v1/orders", newOrder("x", func(o *order.Order) { o.Lines = nil }), 422, "body.lines", ""},
		{"POST /v1/orders", newOrder("x", func(o *order.Order) { o.Lines[0].Quantity = -1 }), 422, "body.lines[0].quantity", "10000"},
		{"POST /v1/orders", newOrder("x", func(o *order.Order) { o.Payment.Token = "" }), 422, "body.payment.token", ""},
		{"POST /v1/orders", newOrder("x", func(o *order.Order) { o.SpecVersion = 9 }), 422, "body.specVersion", "only 1"},
		{"POST /v1/sagas", newOrder("x", func(o *order.Order) { o.ShipTo = &order.Address{Country: "Germany"} }), 422, "body.shipTo.country", ""},
		{"POST /v1/orders", strings.Repeat(" ", order.MaxEventBytes+1), 413, "", "bytes"},
		{"PUT /v1/orders", good, 405, "", "PUT"},
		{"DELETE /v1/sagas", "", 405, "", "DELETE"},
		{"GET /v1/nothing", "", 404, "", "/v1/nothing"},
		{"GET /v1/sagas/unknown", "", 404, "", "unknown"},
		{"GET /v1/sagas/unknown/history", "", 404, "", "unknown"},
		{"GET /v1/sagas/a%20b", "", 422, "path.id", "pattern"},
		{"GET /v1/sagas/" + strings.Repeat("x", 65), "", 422, "path.id", ""},
		{"GET /v1/sagas?status=DONE", "", 422, "query.status[0]", ""},
		{"GET /v1/sagas?statu=FAILED", "", 422, "query.statu", "unknown"},
		{"GET /v1/sagas?limit=0", "", 422, "query.limit", ""},
		{"GET /v1/sagas?limit=1001", "", 422, "query.limit", ""},
		{"GET /v1/sagas?limit=many", "", 422, "query.limit", ""},
		{"GET /v1/sagas?since=yesterday", "", 400, "query.since", "RFC 3339"},
		{"GET /v1/sagas?since=-5m", "", 400, "query.since", ""},
		{"GET /v1/sagas?cursor=x", "", 400, "query.cursor", ""},
		{"GET /v1/sagas?cursor=!!", "", 400, "query.cursor", ""},
		{"GET /v1/sagas?customer=a%2Fb", "", 422, "query.customer", ""},
		{"POST /v1/sagas/unknown/cancel", "", 404, "", "unknown"},
		{"POST /v1/sagas/known/cancel", "", 409, "", "shipment"},
		{"POST /v1/sagas/known/approve", "", 409, "", "AWAITING_APPROVAL"},
		{"POST /v1/sagas/known/reject", `{"by":"ann"}`, 409, "", "COMPLETED"},
		{"POST /v1/sagas/known/retry", "", 409, "", "NEEDS_ATTENTION"},
		{"POST /v1/sagas/known/retry", `{"action":"pray"}`, 422, "body.action", "retry"},
		{"POST /v1/sagas/known/retry", `{"action":`, 400, "", ""},
		{"POST /v1/sagas/known/cancel", `{"by":"` + strings.Repeat("x", 65) + `"}`, 422, "body.by", ""},
		{"POST /v1/sagas/known/cancel", `{"who":"ann"}`, 422, "body.who", ""},
		{"POST /v1/sagas/known/fly", "", 404, "", "fly"},
		{"GET /v1/stock/unknown", "", 404, "", "unknown"},
		{"GET /v1/stock/a%20b", "", 422, "path.sku", ""},
		{"GET /v1/stock?cursor=x", "", 400, "query.cursor", ""},
		{"GET /v1/stock?limit=0", "", 422, "query.limit", ""},
		{"PUT /v1/stock/A", "", 400, "", "body"},
		{"PUT /v1/stock/A", "{}", 422, "body", "available"},
		{"PUT /v1/stock/A", `{"available":-1}`, 422, "body.available", ""},
		{"PUT /v1/stock/A", `{"available":1.5}`, 422, "body.available", ""},
		{"PUT /v1/stock/A", `{"available":"1"}`, 422, "body.available", ""},
		{"PUT /v1/stock/A", `{"available":1000000000001}`, 422, "body.available", ""},
	} {
		method, path, _ := strings.Cut(r.request, " ")
		c.do(method, path, r.body).wantProblem(t, fmt.Sprintf("%s %.60s", r.request, r.body), r.status, r.location, r.say)
	}
	c.do("POST", "/v1/orders", good, "Content-Type", "text/plain").wantProblem(t, "text/plain", 415, "", "application/json")
	c.do("POST", "/v1/sagas/known/cancel", "{}", "Content-Type", "application/xml").wantProblem(t, "xml", 415, "", "application/json")
}

func TestList(t *testing.T) {
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
			a := c.get("/v1/sagas?limit=4" + query + "&cursor=" + cursor)
			var page struct {
				Sagas []sagaView
				Next  string
			}
			a.json(t, &page)
			if a.status != 200 || len(page.Sagas) > 4 {
				t.Fatal(a.status, a.body)
			}
			for _, s := range page.Sagas {
				ids = append(ids, s.OrderID)
			}
			if cursor = page.Next; cursor == "" {
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
}

func TestStock(t *testing.T) {
	c := start(t)
	if a := c.do("PUT", "/v1/stock/NEW", `{"available":7}`); a.status != 200 || a.body != `{"sku":"NEW","available":7,"reserved":0,"sold":0,"received":7}`+"\n" {
		t.Error(a.status, a.body)
	}
	var all struct{ Stock []struct{ SKU string } }
	c.get("/v1/stock").json(t, &all)
	if len(all.Stock) != 3 {
		t.Errorf("%+v", all)
	}
	var page struct{ Next string }
	c.get("/v1/stock?limit=2").json(t, &page)
	c.get("/v1/stock?limit=2&cursor="+page.Next).json(t, &all)
	if len(all.Stock) != 1 {
		t.Errorf("second page: %+v", all)
	}
}

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	c := start(t)
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	c.get("/openapi.json").json(t, &doc)
	want := []string{
		"GET /healthz", "GET /readyz", "GET /v1/sagas", "GET /v1/sagas/{id}", "GET /v1/sagas/{id}/history", "GET /v1/stock", "GET /v1/stock/{sku}",
		"POST /v1/orders", "POST /v1/reconcile", "POST /v1/sagas", "POST /v1/sagas/{id}/approve", "POST /v1/sagas/{id}/cancel", "POST /v1/sagas/{id}/reject",
		"POST /v1/sagas/{id}/retry", "PUT /v1/stock/{sku}",
	}
	var got []string
	for path, methods := range doc.Paths {
		for m := range methods {
			got = append(got, strings.ToUpper(m)+" "+path)
		}
	}
	slices.Sort(got)
	if !strings.HasPrefix(doc.OpenAPI, "3.") || !slices.Equal(got, want) {
		t.Errorf("OpenAPI %s: %v", doc.OpenAPI, got)
	}
	docs := c.get("/docs")
	for _, r := range want {
		if !strings.Contains(docs.body, "<code>"+r+"</code>") {
			t.Errorf("/docs does not list %s", r)
		}
	}
	if strings.Contains(docs.body, "://") || strings.Contains(docs.body, "<script") || strings.Contains(docs.body, "style=") {
		t.Error("/docs loads something from elsewhere, or what its own policy forbids")
	}
}

func TestHealth(t *testing.T) {
	c := start(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := c.get(path); a.status != 200 || !strings.Contains(a.body, `"ok"`) {
			t.Error(path, a.status, a.body)
		}
	}
	c.place(newOrder("o", expensive), "AWAITING_APPROVAL")
	testkit.Eventually(t, "the waiting saga is counted", func() error {
		m := c.get("/metrics").body
		for _, say := range []string{"\nordersaga_sagas_live 1\n", "\nordersaga_sagas_waiting 1\n", `ordersaga_intake_messages_total{outcome="done",queue="orders"} 1`, "ordersaga_http_request_seconds_count{"} {
			if !strings.Contains(m, say) {
				return fmt.Errorf("no %q", say)
			}
		}
		return nil
	})
	a := c.do("GET", "/healthz", "", "X-Request-Id", "abc-1")
	b := c.do("GET", "/healthz", "", "X-Request-Id", "a b")
	if a.header.Get("X-Request-Id") != "abc-1" || len(b.header.Get("X-Request-Id")) != 36 {
		t.Errorf("request ids %q and %q", a.header.Get("X-Request-Id"), b.header.Get("X-Request-Id"))
	}
}
