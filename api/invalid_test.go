package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
)

func TestInvalidRequestsNameTheFault(t *testing.T) {
	c := start(t)
	c.place(newOrder("known", nil), "COMPLETED")
	good := newOrder("x", nil)
	for _, r := range []struct {
		request, body string
		status        int
		location, say string
	}{
		{"PUT /v1/orders", good, 405, "", "PUT"},
		{"DELETE /v1/sagas", "", 405, "", "DELETE"},
		{"POST /healthz", "", 405, "", "POST"},
		{"GET /v1/nothing", "", 404, "", "/v1/nothing"},
		{"GET /v1/sagas/", "", 404, "", "/v1/sagas/"},
		{"GET /v1/sagas/unknown", "", 404, "", "unknown"},
		{"GET /v1/sagas/unknown/history", "", 404, "", "unknown"},
		{"POST /v1/sagas/unknown/cancel", "", 404, "", "unknown"},
		{"POST /v1/sagas/unknown/approve", "", 404, "", "unknown"},
		{"POST /v1/sagas/unknown/reject", "", 404, "", "unknown"},
		{"POST /v1/sagas/unknown/resolve", "", 404, "", "unknown"},
		{"POST /v1/sagas/known/fly", "", 404, "", "fly"},
		{"GET /v1/sagas?status=DONE", "", 422, "query.status[0]", ""},
		{"GET /v1/sagas?status=PAID,DONE", "", 422, "query.status[1]", ""},
		{"GET /v1/sagas?status=PAID&status=FAILED", "", 422, "query.status", "once"},
		{"GET /v1/sagas?status=%zz", "", 400, "query", "%zz"},
		{"GET /v1/sagas?status=PAID;limit=1", "", 400, "query", "semicolon"},
		{"GET /v1/sagas?statu=FAILED", "", 422, "query.statu", "unknown"},
		{"GET /v1/sagas?limit=0", "", 422, "query.limit", ""},
		{"GET /v1/sagas?limit=1001", "", 422, "query.limit", ""},
		{"GET /v1/sagas?limit=many", "", 422, "query.limit", ""},
		{"GET /v1/sagas?since=yesterday", "", 400, "query.since", "RFC 3339"},
		{"GET /v1/sagas?since=-5m", "", 400, "query.since", ""},
		{"GET /v1/sagas?since=99999999h", "", 400, "query.since", ""},
		{"GET /v1/sagas?since=9999-12-31T23:59:59-23:59", "", 400, "query.since", ""},
		{"GET /v1/sagas?cursor=x", "", 400, "query.cursor", ""},
		{"GET /v1/sagas?cursor=!!", "", 400, "query.cursor", ""},
		{"GET /v1/sagas?cursor=" + strings.Repeat("x", 513), "", 422, "query.cursor", "512"},
		{"GET /v1/sagas?customer=a%2Fb", "", 422, "query.customer", ""},
		{"GET /v1/sagas/known?full=1", "", 422, "query.full", "unknown"},
		{"GET /v1/sagas/known/history?limit=1", "", 422, "query.limit", "unknown"},
		{"POST /v1/orders?dry=1", good, 422, "query.dry", "unknown"},
		{"POST /v1/sagas/known/cancel?why=x", "", 422, "query.why", "unknown"},
		{"GET /v1/stock?cursor=x", "", 400, "query.cursor", ""},
		{"GET /v1/stock?limit=0", "", 422, "query.limit", ""},
		{"GET /v1/stock?sku=A", "", 422, "query.sku", "unknown"},
		{"GET /readyz?x=1", "", 422, "query.x", "unknown"},
		{"GET /v1/stock/unknown", "", 404, "", "unknown"},
		{"POST /v1/sagas/known/resolve", `{"action":"pray"}`, 422, "body.action", "retry"},
		{"POST /v1/sagas/known/resolve", `{"action":`, 400, "body", ""},
		{"POST /v1/sagas/known/cancel", `[]`, 422, "body", "object"},
		{"POST /v1/sagas/known/cancel", `{} {}`, 400, "body", "after"},
		{"POST /v1/sagas/known/cancel", "{\"by\":\"\xff\"}", 400, "body", "UTF-8"},
		{"POST /v1/sagas/known/cancel", `{"by":"` + strings.Repeat("x", 65) + `"}`, 422, "body.by", ""},
		{"POST /v1/sagas/known/cancel", `{"note":"` + strings.Repeat("x", 501) + `"}`, 422, "body.note", ""},
		{"POST /v1/sagas/known/cancel", `{"by":7}`, 422, "body.by", "string"},
		{"POST /v1/sagas/known/cancel", `{"who":"ann"}`, 422, "body.who", ""},
		{"PUT /v1/stock/A", "", 400, "body", "required"},
		{"PUT /v1/stock/A", "null", 422, "body", "object"},
		{"PUT /v1/stock/A", "{}", 422, "body", "onHand"},
		{"PUT /v1/stock/A", `{"onHand":-1}`, 422, "body.onHand", ""},
		{"PUT /v1/stock/A", `{"onHand":1.5}`, 422, "body.onHand", ""},
		{"PUT /v1/stock/A", `{"onHand":"1"}`, 422, "body.onHand", ""},
		{"PUT /v1/stock/A", `{"onHand":1000000000001}`, 422, "body.onHand", ""},
		{"PUT /v1/stock/A", `{"onHand":1e30}`, 422, "body.onHand", ""},
		{"PUT /v1/stock/A", `{"onHand":1,"sold":0}`, 422, "body.sold", "unexpected"},
	} {
		method, path, _ := strings.Cut(r.request, " ")
		c.do(method, path, r.body).wantProblem(t, fmt.Sprintf("%s %.60s", r.request, r.body), r.status, r.location, r.say)
	}
	if l := c.get("/v1/stock/A"); !strings.Contains(l.body, `"available":999998,"reserved":0,"sold":2,`) {
		t.Errorf("a refused request changed the stock: %s, want 999998 available, 0 reserved and 2 sold", l.body)
	}
	if n := len(c.view("known").Notes); n != 0 {
		t.Errorf("a refused request left %d notes, want 0", n)
	}
}

// TestInvalidIDsAreRejectedInEveryPath: every path with an id rejects an invalid one.
func TestInvalidIDsAreRejectedInEveryPath(t *testing.T) {
	c := start(t)
	for _, id := range []string{"a%20b", "a%2Fb", "%C3%A4", "%FF", "a%0A", "..", ".", strings.Repeat("x", 65)} {
		for _, r := range []struct{ request, body, location string }{
			{"GET /v1/sagas/*", "", "path.id"},
			{"GET /v1/sagas/*/history", "", "path.id"},
			{"POST /v1/sagas/*/cancel", "", "path.id"},
			{"POST /v1/sagas/*/approve", "", "path.id"},
			{"POST /v1/sagas/*/reject", "", "path.id"},
			{"POST /v1/sagas/*/resolve", "", "path.id"},
			{"GET /v1/stock/*", "", "path.sku"},
			{"PUT /v1/stock/*", `{"onHand":1}`, "path.sku"},
		} {
			method, path, _ := strings.Cut(strings.Replace(r.request, "*", id, 1), " ")
			c.do(method, path, r.body).wantProblem(t, method+" "+path, 422, r.location, "64")
		}
	}
	c.get("/v1/sagas/"+strings.Repeat("x", 64)).wantProblem(t, "the longest id", 404, "", "xxx")
}

// badOrders are orders with one fault, and where it is.
func badOrders() map[string]string {
	change := func(change func(*order.Order)) string { return newOrder("bad", change) }
	good := newOrder("bad", shipTo("Ada"))
	raw := func(old, with string) string {
		if !strings.Contains(good, old) {
			panic(old)
		}
		return strings.Replace(good, old, with, 1)
	}
	return map[string]string{
		"{":         "body",
		"[]":        "body",
		`"x"`:       "body",
		good + good: "body",
		good + "x":  "body",
		"null":      "body.orderId",
		"{}":        "body.orderId",
		change(func(o *order.Order) { o.SpecVersion = 2 }):                   "body.specVersion",
		change(func(o *order.Order) { o.SpecVersion = -1 }):                  "body.specVersion",
		change(func(o *order.Order) { o.OrderID = "" }):                      "body.orderId",
		change(func(o *order.Order) { o.OrderID = ".." }):                    "body.orderId",
		change(func(o *order.Order) { o.OrderID = strings.Repeat("x", 65) }): "body.orderId",
		raw(`"bad"`, "7"): "body.orderId",
		change(func(o *order.Order) { o.CustomerID = "" }):                               "body.customerId",
		change(func(o *order.Order) { o.Currency = "" }):                                 "body.currency",
		change(func(o *order.Order) { o.Currency = "€" }):                                "body.currency",
		change(func(o *order.Order) { o.Lines = nil }):                                   "body.lines",
		change(func(o *order.Order) { o.Lines = []order.Line{} }):                        "body.lines",
		change(func(o *order.Order) { o.Lines = make([]order.Line, 51) }):                "body.lines",
		change(func(o *order.Order) { o.Lines[0].SKU = "a b" }):                          "body.lines[0].sku",
		change(func(o *order.Order) { o.Lines[0].SKU = "<script>alert(1)</script>" }):    "body.lines[0].sku",
		change(func(o *order.Order) { o.Lines[0].Quantity = -1 }):                        "body.lines[0].quantity",
		change(func(o *order.Order) { o.Lines[0].Quantity = 0 }):                         "body.lines[0].quantity",
		change(func(o *order.Order) { o.Lines[0].Quantity = 10_001 }):                    "body.lines[0].quantity",
		change(func(o *order.Order) { o.Lines = append(o.Lines, order.Line{SKU: "A"}) }): "body.lines[1].quantity",
		raw(`"quantity":2`, `"quantity":2.5`):                                            "body.lines[0].quantity",
		raw(`"quantity":2`, `"quantity":"2"`):                                            "body.lines[0].quantity",
		raw(`"unitPrice":100`, `"unitPrice":-1`):                                         "body.lines[0].unitPrice",
		raw(`"unitPrice":100`, `"unitPrice":1000000001`):                                 "body.lines[0].unitPrice",
		change(func(o *order.Order) { o.Payment.Token = "" }):                            "body.payment.token",
		raw(`{"token":"tok_ok"}`, `"tok_ok"`):                                            "body.payment",
		raw(`"Ada"`, `"`+strings.Repeat("x", 201)+`"`):                                   "body.shipTo.name",
		raw(`"name"`, `"line1":"`+strings.Repeat("x", 201)+`","name"`):                   "body.shipTo.line1",
		raw(`"name"`, `"city":"`+strings.Repeat("x", 201)+`","name"`):                    "body.shipTo.city",
		raw(`"name"`, `"postalCode":"`+strings.Repeat("x", 201)+`","name"`):              "body.shipTo.postalCode",
		raw(`"DE"`, `"Germany"`):                                                         "body.shipTo.country",
		raw(`"shipTo"`, `"placedAt":"yesterday","shipTo"`):                               "body.placedAt",
		raw(`"shipTo"`, `"placedAt":"2026-11-23T10:00:00+24:00","shipTo"`):               "body.placedAt",
	}
}

// TestInvalidOrdersAreRejectedAndNotRecorded: both routes for orders report the fault, and
// neither records the order.
func TestInvalidOrdersAreRejectedAndNotRecorded(t *testing.T) {
	c := start(t)
	for _, path := range []string{"/v1/orders", "/v1/sagas"} {
		for body, location := range badOrders() {
			what := fmt.Sprintf("POST %s %.300s", path, body)
			a := c.post(path, body)
			a.wantProblem(t, what, 422, location, "")
			if strings.Contains(a.body, "tok_ok") {
				t.Errorf("%s: body = %s, want no token in it", what, a.body)
			}
		}
		c.post(path, "").wantProblem(t, "no body", 400, "body", "required")
		c.post(path, "\xff\xfe").wantProblem(t, "no text", 400, "body", "UTF-8")
		c.post(path, strings.Replace(newOrder("bad", shipTo("Köln")), "ö", "\xf6", 1)).wantProblem(t, "no text in a field", 400, "body", "UTF-8")
	}
	c.get("/v1/sagas/bad").wantProblem(t, "a refused order", 404, "", "bad")
}

func TestOnlyJSONBodiesAreAccepted(t *testing.T) {
	c := start(t)
	for _, route := range []string{"POST /v1/orders", "POST /v1/sagas", "POST /v1/sagas/x/cancel", "PUT /v1/stock/A"} {
		method, path, _ := strings.Cut(route, " ")
		for _, kind := range []string{
			"text/plain", "application/xml", "application/jsonx", "application/cbor",
			"application/json; =", "multipart/form-data; boundary=x",
		} {
			c.do(method, path, "{}", "Content-Type", kind).wantProblem(t, route+" as "+kind, 415, "header.Content-Type", "application/json")
		}
	}
	for i, kind := range []string{"application/json", "Application/JSON", "application/json; charset=utf-8", ""} {
		if a := c.do("POST", "/v1/orders", newOrder(fmt.Sprint("o", i), nil), "Content-Type", kind); a.status != http.StatusAccepted {
			t.Errorf("POST as %q: status = %d, want %d: %s", kind, a.status, http.StatusAccepted, a.body)
		}
		if a := c.do("PUT", "/v1/stock/NEW", `{"onHand":9}`, "Content-Type", kind, "If-None-Match", "*"); a.status != http.StatusOK {
			t.Errorf("PUT as %q: status = %d, want %d: %s", kind, a.status, http.StatusOK, a.body)
		}
	}
}

// TestBodySizeIsLimited: the limit is the same with and without a Content-Length, on every
// route.
func TestBodySizeIsLimited(t *testing.T) {
	c := start(t)
	padded := func(id string, size int) string {
		o := newOrder(id, nil)
		return o + strings.Repeat(" ", size-len(o))
	}
	for _, send := range []func(method, path, body string) answer{
		func(method, path, body string) answer { return c.do(method, path, body) },
		c.chunked,
	} {
		for _, route := range []string{
			"POST /v1/orders", "POST /v1/sagas", "POST /v1/sagas/x/cancel", "POST /v1/sagas/x/resolve",
			"PUT /v1/stock/A", "POST /v1/reconcile",
		} {
			method, path, _ := strings.Cut(route, " ")
			for _, size := range []int{order.MaxEventBytes + 1, 3 * order.MaxEventBytes} {
				send(method, path, padded("big", size)).
					wantProblem(t, fmt.Sprint(route, " with ", size), 413, "body", strconv.Itoa(order.MaxEventBytes))
			}
		}
		if a := send("POST", "/v1/orders", padded("fits", order.MaxEventBytes)); a.status != http.StatusAccepted {
			t.Errorf("the largest order: status = %d, want %d: %s", a.status, http.StatusAccepted, a.body)
		}
	}
	if a := c.chunked("POST", "/v1/orders", newOrder("chunked", nil)); a.status != http.StatusAccepted {
		t.Errorf("a chunked body: status = %d, want %d: %s", a.status, http.StatusAccepted, a.body)
	}
	c.chunked("POST", "/v1/orders", "").wantProblem(t, "chunked nothing", 400, "body", "required")
}

// chunked sends a body without a Content-Length.
func (c client) chunked(method, path, body string) answer {
	c.t.Helper()
	return c.send(method, path, io.MultiReader(strings.NewReader(body)), "Content-Type", "application/json")
}

// TestBrokenChunkedBodyIsABadRequest: a body that does not match its header is the caller's
// fault.
func TestBrokenChunkedBodyIsABadRequest(t *testing.T) {
	c := start(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.API, "http://"))
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn,
		"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: "+
			"chunked\r\n\r\nnot-hex\r\n"); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	answer{res.StatusCode, res.Header, string(b)}.wantProblem(t, "a broken chunk", 400, "body", "end")
}

// TestProblemsDoNotEchoTheRequest: the request may be long or secret, so the response does not
// repeat it.
func TestProblemsDoNotEchoTheRequest(t *testing.T) {
	c := start(t)
	long := strings.Repeat("s3cret", 10_000)
	for request, body := range map[string]string{
		"POST /v1/orders":          newOrder("o", func(o *order.Order) { o.Payment.Token = long }),
		"POST /v1/sagas":           newOrder("o", func(o *order.Order) { o.Payment.Token = long }) + long,
		"POST /v1/sagas/o/cancel":  `{"note":"` + long + `"}`,
		"POST /v1/sagas/o/approve": `{"note":"` + long,
		"PUT /v1/stock/A":          `{"onHand":"` + long + `"}`,
	} {
		method, path, _ := strings.Cut(request, " ")
		if a := c.do(method, path, body); a.status < 400 || a.status > 499 || strings.Contains(a.body, "s3cret") {
			t.Errorf("%s: status = %d, body = %.300s, want a 4xx status and no s3cret in the body", request, a.status, a.body)
		}
	}
}

func TestWrongMethodNamesTheAllowedOnes(t *testing.T) {
	c := start(t)
	for request, allow := range map[string]string{
		"DELETE /v1/orders": "POST", "DELETE /v1/sagas": "GET, HEAD, POST", "POST /v1/sagas/x": "GET, HEAD, DELETE",
		"GET /v1/sagas/x/cancel": "POST", "HEAD /v1/sagas/x/cancel": "POST", "PATCH /v1/stock/a%2Fb": "GET, HEAD, PUT", "BREW /docs": "GET, HEAD",
	} {
		method, path, _ := strings.Cut(request, " ")
		if a := c.do(method, path, ""); a.status != 405 || a.header.Get("Allow") != allow {
			t.Errorf("%s: %d, Allow: %q, want %q", request, a.status, a.header.Get("Allow"), allow)
		}
	}
}
