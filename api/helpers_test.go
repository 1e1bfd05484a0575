package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type client struct {
	testkit.System

	t    testing.TB
	http *http.Client
}

// newClient keeps its connections: a fuzz test that dials for every request
// runs out of ports.
func newClient(t testing.TB, s testkit.System) client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return client{s, t, &http.Client{Transport: transport}}
}

func start(t testing.TB) client {
	t.Helper()
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, map[string]int64{"A": 1_000_000, "NONE": 0})
	return newClient(t, s)
}

type answer struct {
	status int
	header http.Header
	body   string
}

// problem is RFC 9457's document, with huma's errors extension.
type problem struct {
	Title, Detail string
	Status        int
	Errors        []struct{ Message, Location string }
}

func (c client) do(method, path, body string, header ...string) answer {
	c.t.Helper()
	if body != "" {
		header = append([]string{"Content-Type", "application/json"}, header...)
	}
	return c.send(method, path, strings.NewReader(body), header...)
}

func (c client) send(method, path string, body io.Reader, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequest(method, c.API+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return c.carryOut(req)
}

func (c client) carryOut(req *http.Request) answer {
	c.t.Helper()
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func (c client) get(path string) answer        { c.t.Helper(); return c.do("GET", path, "") }
func (c client) post(path, body string) answer { c.t.Helper(); return c.do("POST", path, body) }

func (a answer) json(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("body = %s (%v), want JSON", a.body, err)
	}
}

// wantProblem checks that an answer is a problem document that names where
// the fault is ("" for faults of no field) and contains a text.
func (a answer) wantProblem(t testing.TB, what string, status int, location, text string) {
	t.Helper()
	if a.status != status || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: %d %s %s, want a problem with status %d", what, a.status, a.header.Get("Content-Type"), a.body, status)
		return
	}
	var p problem
	a.json(t, &p)
	if p.Status != status || p.Title == "" || p.Detail == "" || !strings.Contains(a.body, text) {
		t.Errorf("%s: %s, want status %d, a title, a detail and the text %q", what, a.body, status, text)
	}
	if location == "" {
		return
	}
	for _, e := range p.Errors {
		if e.Location == location && e.Message != "" {
			return
		}
	}
	t.Errorf("%s: %s, want an error with a message at %s", what, a.body, location)
}

// newOrder is a good order as JSON; change may be nil.
func newOrder(id string, change func(*order.Order)) string {
	o := order.Order{
		OrderID: id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
	}
	if change != nil {
		change(&o)
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// from is the query for the page at a cursor; "" is the first page.
func from(cursor string) string {
	if cursor == "" {
		return ""
	}
	return "&cursor=" + url.QueryEscape(cursor)
}

func expensive(o *order.Order) { o.Lines[0].UnitPrice = 100_000 }
func shipTo(name string) func(*order.Order) {
	return func(o *order.Order) { o.ShipTo = &order.Address{Name: name, Country: "DE"} }
}

type sagaView struct {
	OrderID, Status, Reason, RuntimeStatus, Decision string
	ShipmentID, CreatedAt                            string
	Cancellable, CancelRequested                     bool
	Notes                                            []struct{ Actor, Action, Text string }
}

// place starts an order and waits for a status.
func (c client) place(o, until string) string {
	c.t.Helper()
	if a := c.post("/v1/orders", o); a.status != http.StatusAccepted {
		c.t.Fatalf("status = %d, body = %s, want 202", a.status, a.body)
	}
	var id struct{ OrderID string }
	if err := json.Unmarshal([]byte(o), &id); err != nil {
		c.t.Fatal(err)
	}
	c.until(id.OrderID, until)
	return id.OrderID
}

func (c client) view(id string) (v sagaView) {
	c.t.Helper()
	c.get("/v1/sagas/"+id).json(c.t, &v)
	return v
}

func (c client) until(id, status string) sagaView {
	c.t.Helper()
	var v sagaView
	testkit.Eventually(c.t, "order "+id+" is "+status, func() error {
		a := c.get("/v1/sagas/" + id)
		if a.status != http.StatusOK {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		a.json(c.t, &v)
		if v.Status != status {
			return fmt.Errorf("is %s (%s)", v.Status, v.Reason)
		}
		return nil
	})
	return v
}
