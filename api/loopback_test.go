package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/api"
)

// TestDNSRebindingIsRejected: the host name of the page resolves to loopback, so the browser
// treats the API as the page's own site.
func TestDNSRebindingIsRejected(t *testing.T) {
	c := start(t)
	for _, x := range []struct{ method, path, kind, body string }{
		{"PUT", "/v1/stock/A", "application/json", `{"onHand":7}`},
		{"GET", "/v1/sagas", "", ""},
		{"POST", "/console/stock", "application/x-www-form-urlencoded", "sku=A&onHand=7"},
		{"GET", "/", "", ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), x.method, c.API+x.path, strings.NewReader(x.body))
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		req.Host = "evil.example:8480"
		req.Header.Set("Origin", "http://evil.example:8480")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		if x.kind != "" {
			req.Header.Set("Content-Type", x.kind)
		}
		res, err := c.http.Do(req)
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		if err := res.Body.Close(); err != nil {
			t.Errorf("unexpected error: %v", err)
		}
		if res.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s %s: status = %d, want %d", x.method, x.path, res.StatusCode, http.StatusMisdirectedRequest)
		}
	}
	var level api.Level
	c.get("/v1/stock/A").json(t, &level)
	if level.Available != 1_000_000 || level.Received != 1_000_000 {
		t.Errorf("stock = %+v, want 1000000 available and received, as before", level)
	}
	var doc struct {
		Paths map[string]map[string]struct{ Responses map[string]any }
	}
	c.get("/openapi.json").json(t, &doc)
	if doc.Paths["/v1/sagas"]["get"].Responses["421"] == nil {
		t.Error("the document of an API that checks the host has no response 421 for GET /v1/sagas, want one")
	}
}

func TestOnLoopbackAcceptsLocalAndPublicHostsOnly(t *testing.T) {
	passes := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for host, public := range map[string]string{
		"localhost": "", "LocalHost:8080": "", "127.0.0.1:8080": "", "127.1.2.3": "", "[::1]:8080": "", "[::1]": "",
		"orders.example.com": "https://orders.example.com", "Orders.example.com:443": "https://orders.example.com/",
	} {
		if s := statusAs(api.OnLoopback(public, passes), host); s != http.StatusOK {
			t.Errorf("host %s: status = %d, want %d", host, s, http.StatusOK)
		}
	}
	for _, host := range []string{
		"", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "127.evil.example",
		"192.168.0.1", "[::2]:80", "[", ":8080",
	} {
		for _, public := range []string{"", "https://orders.example.com"} {
			if s := statusAs(api.OnLoopback(public, passes), host); s != http.StatusMisdirectedRequest {
				t.Errorf("host %q, public URL %q: status = %d, want %d", host, public, s, http.StatusMisdirectedRequest)
			}
		}
	}
}

func statusAs(h http.Handler, host string) int {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}
