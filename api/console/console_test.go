package console_test

import (
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// browser is a browser without JavaScript.
type browser struct {
	*testing.T
	testkit.System

	at   string
	http *http.Client
}

func newBrowser(t *testing.T) browser {
	t.Helper()
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, map[string]int64{"A": 100})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return browser{t, s, s.API, &http.Client{Jar: jar, Transport: transport}}
}

func (b browser) send(method, path string, form url.Values, header ...string) (int, string, http.Header) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, b.at+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	return res.StatusCode, string(text), res.Header
}

func (b browser) sees(status int, page string, got int, parts ...string) {
	b.Helper()
	if got != status {
		b.Errorf("status %d, want %d: %s", got, status, page)
	}
	for _, p := range parts {
		if !strings.Contains(page, p) {
			b.Errorf("the page does not show %q, want it shown: %s", p, page)
		}
	}
}

func TestActionsWorkWithoutJavaScript(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	post := func(path string, form url.Values) (int, string) {
		status, page, _ := b.send("POST", path, form)
		return status, page
	}
	status, page := post("/console/stock", url.Values{"sku": {"B"}, "onHand": {"7"}})
	b.sees(200, page, status, "B: 7 counted, 7 available", `<td class="n">7`, `name="version" value="7-0-1"`)
	status, page = post("/console/stock", url.Values{"sku": {"B"}, "onHand": {"9"}}) // the SKU is not new any more
	b.sees(200, page, status, `class="result failed"`, "has changed since")
	status, page = post("/console/stock", url.Values{"sku": {"B"}, "onHand": {"9"}, "version": {"7-0-1"}})
	b.sees(200, page, status, "B: 9 counted, 9 available")
	status, page, _ = b.send("GET", "/console/stock", nil)
	b.sees(200, page, status)
	if strings.Contains(page, "9 available") {
		t.Error("the result of the action is shown twice, want it shown once")
	}
	status, page = post("/console/stock", url.Values{"sku": {"B"}, "onHand": {"many"}})
	b.sees(200, page, status, `class="result failed"`, "is not a number")
	status, page = post("/console/stock", url.Values{"sku": {"B"}, "onHand": {"-1"}})
	b.sees(200, page, status, `class="result failed"`, "body.onHand")
	status, page = post("/console/sagas", url.Values{"action": {"cancel"}, "id": {"no-1", "no-2"}, "query": {"status=FAILED"}})
	b.sees(200, page, status, `class="result failed"`, "0 done, 2 rejected", "no-2", `value="FAILED" checked`)
	status, page = post("/console/sagas/x/explode", url.Values{})
	b.sees(404, page, status, "there is no action", "order x")
	status, page = post("/console/dead-letters/OrderProcessingQueue/x", url.Values{"body": {"a"}, "before": {"a"}})
	b.sees(200, page, status, "no dead letter has this id")
	status, page = post("/console/dead-letters/OrderProcessingQueue/x/delete", url.Values{})
	b.sees(200, page, status, "no dead letter has this id")
	status, page = post("/console/dead-letters/OrderProcessingQueue/redrive", url.Values{"rate": {"0"}})
	b.sees(200, page, status, "query.rate")
}

// TestSagaPageHasDataEventsAndCommands also filters the list by engine status.
func TestSagaPageHasDataEventsAndCommands(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	place := func(id string, price int64, want order.Status) {
		t.Helper()
		body := fmt.Sprintf(`{"orderId":%q,"customerId":"c-1","currency":"EUR",
			"lines":[{"sku":"A","quantity":2,"unitPrice":%d}],"payment":{"token":"tok_ok"}}`, id, price)
		res, err := b.http.Post(b.at+"/v1/orders", "application/json", strings.NewReader(body))
		if err != nil || res.StatusCode != http.StatusAccepted {
			t.Fatalf("place order %s: response = %v, error = %v, want status %d", id, res, err, http.StatusAccepted)
		}
		_ = res.Body.Close()
		testkit.Eventually(t, id+" is "+string(want), func() error {
			if rec, err := b.Store.Get(t.Context(), id); err != nil || rec.Status != want {
				return fmt.Errorf("%s %w", rec.Status, err)
			}
			return nil
		})
	}
	place("good", 100, order.StatusCompleted)
	place("better", 100, order.StatusCompleted)
	place("dear", 100_000, order.StatusAwaitingApproval)

	var status int
	var page string
	testkit.Eventually(t, "its saga has ended", func() error {
		status, page, _ = b.send("GET", "/console/sagas/good", nil)
		if !strings.Contains(page, "ExecutionCompleted") {
			return errors.New(page)
		}
		return nil
	})
	b.sees(200, page, status, "<h2>Input</h2>", "&#34;orderId&#34;: &#34;good&#34;",
		"<h2>Output</h2>", "&#34;status&#34;: &#34;COMPLETED&#34;",
		"TaskScheduled → TaskCompleted", "ReserveStock", "ordersaga saga show --api "+b.at+" good", "ordersaga saga purge --api "+b.at+" good")
	for _, no := range []string{"tok_ok", "dapr workflow", "Current step: <b>", "saga suspend"} {
		if strings.Contains(page, no) {
			t.Errorf("the page of an ended saga has %q, want it left out: %s", no, page)
		}
	}
	testkit.Eventually(t, "it is suspended", func() error {
		b.send("POST", "/console/sagas/dear/suspend", url.Values{})
		_, page, _ = b.send("GET", "/console/sagas?runtimeStatus=SUSPENDED&runtimeStatus=NONE", nil)
		if !strings.Contains(page, `<span class="status suspended">SUSPENDED`) {
			return errors.New(page)
		}
		return nil
	})
	b.sees(200, page, 200, `value="SUSPENDED" checked`, `value="NONE" checked`, "/console/sagas/dear")
	for _, id := range []string{"good", "better"} {
		if strings.Contains(page, "/console/sagas/"+id) {
			t.Errorf("the list has the saga %s, which is not suspended, want it left out: %s", id, page)
		}
	}
	testkit.Eventually(t, "both sagas have ended", func() error {
		_, page, _ = b.send("GET", "/console/sagas?runtimeStatus=COMPLETED", nil)
		if !strings.Contains(page, "/console/sagas/good") || !strings.Contains(page, "/console/sagas/better") {
			return errors.New(page)
		}
		return nil
	})
	status, page, _ = b.send("POST", "/console/sagas", url.Values{"action": {"purge"}, "id": {"good", "dear", "better"}, "note": {"tidied"}})
	b.sees(200, page, status,
		"purge: 2 done, 1 rejected: dear: cannot delete the history of order dear: the order is AWAITING_APPROVAL;")
	status, page, _ = b.send("GET", "/console/sagas/good", nil)
	b.sees(200, page, status, "its history was purged", "tidied")
}

// TestListLinksToOlderAndNewestSagas follows the links of the page.
func TestListLinksToOlderAndNewestSagas(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	for n := range 60 {
		o := order.Order{
			OrderID: fmt.Sprintf("o-%02d", n), CustomerID: "c-1", Currency: "EUR",
			Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 100}},
		}
		if _, _, err := b.Store.Accept(b.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	follow := func(page, begins string) string {
		_, rest, _ := strings.Cut(page, begins)
		href, _, found := strings.Cut(rest, `"`)
		if !found {
			t.Fatalf("no link %s, want one in the page: %s", begins, page)
		}
		status, page, _ := b.send("GET", "/console/sagas?"+html.UnescapeString(href), nil)
		b.sees(200, page, status)
		return page
	}
	status, page, _ := b.send("GET", "/console/sagas?customer=c-1&runtimeStatus=NONE", nil)
	b.sees(200, page, status, "o-59", "o-10")
	older := follow(page, `class="next" href="/console/sagas?`)
	b.sees(200, older, 200, "o-09", "o-00", `value="c-1"`)
	if strings.Contains(older, ">o-59<") {
		t.Errorf("the older page has the newest saga, o-59, want older ones: %s", older)
	}
	b.sees(200, follow(older, `class="pages"><a href="/console/sagas?`), 200, "o-59", `value="c-1"`)
}

func TestBadRequestsGetAnErrorPage(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	for path, c := range map[string]struct {
		status int
		want   string
	}{
		"/console/sagas/unknown":               {404, "unknown"},
		"/console/sagas/" + "%3Cscript%3E":     {422, "Request failed"},
		"/console/sagas?cursor=%00":            {400, "cursor"},
		"/console/sagas?since=yesterday":       {400, "since"},
		"/console/sagas?status=%3Cb%3E":        {422, "query.status"},
		"/console/dead-letters?queue=Nobody's": {422, "path.queue"},
		"/console/nothing":                     {404, "There is no page at /console/nothing."},
		"/console/%3Cscript%3E":                {404, `<a href="/">Overview</a>`},
	} {
		status, page, _ := b.send("GET", path, nil)
		b.sees(c.status, page, status, c.want)
		if strings.Contains(page, "<script>") || strings.Contains(page, "<b>") {
			t.Errorf("%s returns its input unescaped, want it escaped: %s", path, page)
		}
	}
}

func TestConsolePathsRedirectToOverview(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	for _, path := range []string{"/console", "/console/"} {
		status, page, _ := b.send("GET", path, nil)
		b.sees(200, page, status, "<h1>Overview</h1>")
	}
}

// TestCrossSiteFormIsRejected sends a form of another site from an operator's
// browser.
func TestCrossSiteFormIsRejected(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	status, page, _ := b.send("POST", "/console/stock", url.Values{"sku": {"A"}, "onHand": {"0"}}, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	b.sees(403, page, status)
	_, page, header := b.send("GET", "/console/stock", nil)
	b.sees(200, page, 200, `<td class="n">100`)
	csp := header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("content security policy = %q, want default-src 'none' and nothing unsafe", csp)
	}
	if strings.Contains(page, "<style") || strings.Contains(page, "onclick") {
		t.Errorf("the page has inline code, want none: %s", page)
	}
}
