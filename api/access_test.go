package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/auth/authtest"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// book is a log that can be read meanwhile.
type book struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *book) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

// audits are the lines of the audit log.
func (b *book) audits(t *testing.T) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%s: error = %v", line, err)
		}
		if m["audit"] == true {
			all = append(all, m)
		}
	}
	return all
}

// startClosed is start with an issuer, whose tokens the API then requires.
func startClosed(t *testing.T, change ...func(*worker.Worker)) (client, *authtest.Issuer, *book) {
	t.Helper()
	var (
		issuer *authtest.Issuer
		b      book
	)
	s := testkit.NewSystem(t, func(w *worker.Worker) {
		issuer = testkit.RequireTokens(t, w)
		w.Logger = zerolog.New(&b)
		for _, f := range change {
			f(w)
		}
	}, nil)
	s.SetStock(t, map[string]int64{"A": 1_000_000})
	return newClient(t, s), issuer, &b
}

func TestRolesLimitWhatACallerMayDo(t *testing.T) {
	t.Parallel()
	c, issuer, _ := startClosed(t)
	bearer := map[string]string{}
	for _, who := range []string{"viewer", "shop", "operator", "nobody"} {
		bearer[who] = "Bearer " + issuer.Token(who)
	}
	for _, x := range []struct{ method, path, may string }{
		{"GET", "/v1/sagas", "viewer operator"},
		{"GET", "/v1/overview", "viewer operator"},
		{"GET", "/v1/sagas/o", "viewer shop operator"},
		{"GET", "/v1/sagas/o/history", "viewer shop operator"},
		{"GET", "/v1/stock", "viewer operator"},
		{"GET", "/v1/dead-letters/OrderProcessingQueue", "viewer operator"},
		{"POST", "/v1/orders", "shop operator"},
		{"POST", "/v1/sagas", "shop operator"},
		{"POST", "/v1/sagas/o/cancel", "operator"},
		{"POST", "/v1/sagas/o/terminate", "operator"},
		{"DELETE", "/v1/sagas/o", "operator"},
		{"PUT", "/v1/stock/A", "operator"},
		{"POST", "/v1/reconcile", "operator"},
		{"POST", "/v1/customers/c/forget", "operator"},
		{"GET", "/v1/reconcile", "operator"},
		{"POST", "/v1/dead-letters/OrderProcessingQueue/redrive", "operator"},
		{"DELETE", "/v1/dead-letters/OrderProcessingQueue/x", "operator"},
		{"POST", "/v1/nothing", "operator"},
	} {
		for who, header := range bearer {
			a := c.do(x.method, x.path, "", "Authorization", header)
			if may := strings.Contains(x.may, who); may == (a.status == http.StatusForbidden) || a.status == http.StatusUnauthorized {
				t.Errorf("%s %s as %s: status = %d, body = %s, want allowed: %t (else 403), and never 401",
					x.method, x.path, who, a.status, a.body, may)
			} else if !may {
				a.wantProblem(t, x.method+" "+x.path+" as "+who, http.StatusForbidden, "", "operator")
			}
		}
		a := c.do(x.method, x.path, "")
		a.wantProblem(t, x.method+" "+x.path, http.StatusUnauthorized, "header.Authorization", "required")
		if a.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s %s: headers = %v, want WWW-Authenticate: Bearer", x.method, x.path, a.header)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"} {
		if a := c.get(path); a.status != http.StatusOK {
			t.Errorf("%s: status = %d, want 200 without a token", path, a.status)
		}
	}
	c.do("GET", "/v1/sagas", "", "Authorization", "Bearer "+issuer.Token("late")).wantProblem(t, "expired",
		http.StatusUnauthorized, "header.Authorization", "expired")
	c.do("GET", "/v1/sagas", "", "Authorization", "Basic YTpi").wantProblem(t, "a password", http.StatusUnauthorized,
		"header.Authorization", "bearer")
	if a := c.do("GET", "/v1/whoami", "", "Authorization", bearer["operator"]); !strings.Contains(a.body,
		`"roles":["operator"]`) || !strings.Contains(a.body, `"open":false`) {
		t.Errorf("body = %v, want the roles [operator] and open false", a.body)
	}
	var doc struct {
		Security   []map[string][]string
		Components struct {
			SecuritySchemes map[string]struct{ Scheme string }
		}
	}
	c.get("/openapi.json").json(t, &doc)
	if len(doc.Security) != 1 || doc.Components.SecuritySchemes["token"].Scheme != "bearer" {
		t.Errorf("document = %+v, want one security requirement and a scheme token of type bearer", doc)
	}
}

func TestUnreachableIssuerIsReportedAsUnavailable(t *testing.T) {
	c, issuer, _ := startClosed(t, func(w *worker.Worker) { w.RateLimit = 2 })
	token := issuer.Token("viewer")
	issuer.Stop()
	c.do("GET", "/v1/sagas", "", "Authorization", "Bearer "+token).wantProblem(t, "the issuer is away",
		http.StatusServiceUnavailable, "", "issuer")
	c.asks("/v1/sagas", 100, "Authorization", "Bearer "+token) // nor indefinitely
	if a := c.get("/readyz"); a.status != http.StatusOK {
		t.Errorf("status = %d, body = %s, want 200: sagas go on without the issuer", a.status, a.body)
	}
}

func TestAuditNamesTheCallerOfEveryAction(t *testing.T) {
	c, issuer, b := startClosed(t, func(w *worker.Worker) { w.RateLimit = 5 })
	operator := []string{"Authorization", "Bearer " + issuer.Token("operator")}
	if a := c.do("POST", "/v1/sagas", newOrder("o", func(o *order.Order) { expensive(o); shipTo("SILENT")(o) }),
		operator...); a.status != http.StatusAccepted {
		t.Fatalf("status = %d, body = %v, want 202", a.status, a.body)
	}
	testkit.Eventually(t, "it waits for approval", func() error {
		if a := c.do("GET", "/v1/sagas/o", "", operator...); !strings.Contains(a.body, "AWAITING_APPROVAL") {
			return io.ErrNoProgress
		}
		return nil
	})
	c.do("POST", "/v1/sagas/o/approve", `{"by":"somebody else","note":"fine"}`, "Authorization", "Bearer "+issuer.Token("viewer"))
	a := c.do("POST", "/v1/sagas/o/approve", `{"by":"somebody else","note":"fine"}`, operator...)
	if a.status != http.StatusAccepted || !strings.Contains(a.body, `"actor":"operator"`) || strings.Contains(a.body, "somebody") {
		t.Errorf("status = %d, body = %s, want 202 and the actor operator, not the name in the request", a.status, a.body)
	}
	if !strings.Contains(a.body, `"subject":"operator"`) {
		t.Errorf("body = %s, want a note with the subject operator, from the issuer", a.body)
	}
	c.do("PUT", "/v1/stock/A", `{"onHand":7}`, append([]string{"If-Match", c.do("GET", "/v1/stock/A", "",
		operator...).header.Get("ETag")}, operator...)...)
	c.do("DELETE", "/v1/sagas/o?by=x&note=forget", "", operator...)
	c.do("POST", "/v1/dead-letters/OrderProcessingQueue/redrive?rate=1000", "", operator...)
	c.do("POST", "/console/stock", "", "Sec-Fetch-Site", "cross-site")
	c.do("POST", "/v1/sagas/o/cancel", "", append([]string{"Sec-Fetch-Site", "cross-site"}, operator...)...)
	c.asks("/v1/whoami", 100, operator...)
	c.do("POST", "/v1/reconcile", "", operator...)
	got := b.audits(t)
	want := []struct {
		path, name any
		status     float64
		said       string
		order      any
	}{
		{"/v1/sagas/o/approve", "viewer", http.StatusForbidden, "", "o"},
		{"/v1/sagas/o/approve", "operator", http.StatusAccepted, "fine", "o"},
		{"/v1/stock/A", "operator", http.StatusOK, "7", nil},
		{"/v1/sagas/o", "operator", http.StatusConflict, "note=forget", "o"},
		{"/v1/dead-letters/OrderProcessingQueue/redrive", "operator", http.StatusOK, "rate=1000", nil},
		{"/console/stock", nil, http.StatusForbidden, "", nil},
		{"/v1/sagas/o/cancel", nil, http.StatusForbidden, "", "o"},
		{"/v1/reconcile", "operator", http.StatusTooManyRequests, "", nil},
	}
	if len(got) != len(want) {
		t.Fatalf("%d audit lines, want %d: %v", len(got), len(want), got)
	}
	for i, w := range want {
		said, _ := json.Marshal([]any{got[i]["said"], got[i]["query"]})
		if g := got[i]; g["order"] != w.order || g["path"] != w.path || g["name"] != w.name || g["subject"] != w.name ||
			g["status"] != w.status || !strings.Contains(string(said), w.said) || g["request"] == "" || g["request"] == nil {
			t.Errorf("audit line %d = %v, want %+v and a request id", i, g, w)
		}
	}
}

func TestSignInOpensTheConsoleAndTheAPI(t *testing.T) {
	c, issuer, b := startClosed(t)
	browser := func() *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Jar: jar, Transport: transport}
	}
	text := func(res *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		return res.Status + " " + string(body)
	}

	ann := browser()
	home := issuer.SignIn(ann, c.API+"/console/stock?x=1", "ann")
	if home.StatusCode != http.StatusOK || home.Request.URL.RequestURI() != "/console/stock?x=1" {
		t.Fatalf("signed in, she is at %s with %s, want 200 at /console/stock?x=1", home.Request.URL, home.Status)
	}
	page := text(home, nil)
	for _, want := range []string{"ann", "operator", "Sign out", "Counted on hand"} {
		if !strings.Contains(page, want) {
			t.Errorf("page = %s, want it to contain %q", page, want)
		}
	}
	if s := text(ann.Get(c.API + "/v1/overview")); !strings.HasPrefix(s, "200") {
		t.Errorf("response = %s, want 200: her session opens the API, which pages follow", s)
	}
	if s := text(ann.PostForm(c.API+"/console/stock", url.Values{
		"sku": {"A"}, "onHand": {"5"},
		"version": {"1000000-0-1"},
	})); !strings.Contains(s, "5 available") {
		t.Errorf("response = %v, want it to show 5 available", s)
	}
	if lines := b.audits(t); len(lines) != 1 || lines[0]["name"] != "ann" {
		t.Errorf("audit lines = %v, want one, by ann", lines)
	}
	u, _ := url.Parse(c.API)
	for _, cookie := range home.Request.Response.Cookies() { // of the answer that brought her back
		if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode {
			t.Errorf("cookie = %s, want HttpOnly and SameSite=Lax", cookie)
		}
	}
	if len(ann.Jar.Cookies(u)) == 0 {
		t.Error("her browser has no cookie, want one for her session")
	}

	// Another site's page acts through her browser.
	for _, path := range []string{"/console/stock", "/v1/reconcile"} {
		req, err := http.NewRequest(http.MethodPost, c.API+path, strings.NewReader("sku=A&onHand=1"))
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		if s := text(ann.Do(req)); !strings.HasPrefix(s, "403") {
			t.Errorf("POST %s from another site: %s, want 403", path, s)
		}
	}

	bob := browser()
	page = text(issuer.SignIn(bob, c.API+"/console/stock", "bob"), nil)
	if !strings.Contains(page, "bob") || strings.Contains(page, "Counted on hand") {
		t.Errorf("page = %s, want it to name the viewer bob and not to offer Counted on hand", page)
	}
	if s := text(bob.PostForm(c.API+"/console/stock", url.Values{"sku": {"A"}, "onHand": {"6"}})); !strings.Contains(s,
		"requires the role operator") {
		t.Errorf("response = %v, want that the action requires the role operator", s)
	}

	if s := text(ann.PostForm(c.API+auth.SignOutPath, nil)); !strings.Contains(s, "signed out") {
		t.Errorf("response = %v, want a page with the text signed out", s)
	}
	if s := text(ann.Get(c.API + "/v1/overview")); !strings.HasPrefix(s, "401") {
		t.Errorf("response = %s, want 401 after she signed out", s)
	}

	// Answers to sign-ins that this browser did not begin, and ways off the site.
	for path, want := range map[string]string{
		"/console/signed-in?code=x&state=y":          "no sign-in is in progress",
		"/console/signed-in?error=access_denied":     "access_denied",
		"/console/sign-in?to=https://evil.test/":     "",
		"/console/sign-in?to=//evil.test/":           "",
		`/console/sign-in?to=/\evil.test/`:           "",
		"/console/sign-in?to=/%09/evil.test/console": "",
	} {
		if want != "" {
			if s := text(browser().Get(c.API + path)); !strings.HasPrefix(s, "401") || !strings.Contains(s, want) {
				t.Errorf("%s: response = %s, want 401 and %q", path, s, want)
			}
			continue
		}
		if end := issuer.SignIn(browser(), c.API+path, "ann"); end.Request.URL.Host != u.Host || end.Request.URL.Path != "/" {
			t.Errorf("%s leads to %s, want / on %s", path, end.Request.URL, u.Host)
		}
	}
	eve := browser()
	form, err := eve.Get(c.API + "/console/sign-in")
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	_ = form.Body.Close()
	if s := text(eve.Get(c.API + "/console/signed-in?code=x&state=other")); !strings.Contains(s, "another sign-in") {
		t.Errorf("response = %v, want it to report another sign-in", s)
	}
}
