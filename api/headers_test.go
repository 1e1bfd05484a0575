package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
)

func TestBearerSchemeIsCaseInsensitive(t *testing.T) {
	c, issuer, _ := startClosed(t)
	token := issuer.Token("viewer")
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER ", "Bearer  "} {
		if a := c.do("GET", "/v1/whoami", "", "Authorization", scheme+token); a.status != http.StatusOK {
			t.Errorf("%q: status = %d, body = %s, want 200", scheme, a.status, a.body)
		}
	}
	for _, header := range []string{token, "Bearer", "bearer" + token, "Bearer\t" + token, "Basic " + token} {
		if a := c.do("GET", "/v1/whoami", "", "Authorization", header); a.status != http.StatusUnauthorized {
			t.Errorf("%.12q: status = %d, body = %s, want 401", header, a.status, a.body)
		}
	}
}

// TestResponsesAreNotCachedByProxies: no cache on the way returns one caller's response to
// another.
func TestResponsesAreNotCachedByProxies(t *testing.T) {
	c, issuer, _ := startClosed(t)
	operator := []string{"Authorization", "Bearer " + issuer.Token("operator")}
	tag := c.do("GET", "/v1/sagas", "", operator...).header.Get("ETag")
	for what, a := range map[string]answer{
		"200":     c.do("GET", "/v1/sagas", "", operator...),
		"304":     c.do("GET", "/v1/sagas", "", append([]string{"If-None-Match", tag}, operator...)...),
		"401":     c.get("/v1/sagas"),
		"404":     c.do("GET", "/v1/sagas/unknown", "", operator...),
		"422":     c.do("GET", "/v1/sagas?customer=", "", operator...),
		"405":     c.do("PUT", "/v1/sagas", "", operator...),
		"HEAD":    c.do("HEAD", "/v1/overview", "", operator...),
		"healthz": c.get("/healthz"),
	} {
		if a.header.Get("Cache-Control") != "private, no-cache" || a.header.Get("Vary") != "Authorization, Cookie" {
			t.Errorf("%s: status = %d, headers = %v, want Cache-Control: private, no-cache and Vary: Authorization, Cookie",
				what, a.status, a.header)
		}
	}
}

// TestRedriveAcceptsWhatTheDocumentAllows: the limit applies to the decoded message, however
// the JSON encodes it.
func TestRedriveAcceptsWhatTheDocumentAllows(t *testing.T) {
	b := newBench(t)
	most := 0
	for _, o := range b.operations() {
		if strings.HasSuffix(o.path, "/redrive") && o.body != nil {
			most = o.body["body"].MaxLength
		}
	}
	if most != order.MaxEventBytes {
		t.Fatalf("maximum length in the document = %d, want that of an event", most)
	}
	for what, x := range map[string]struct {
		letter string
		status int
	}{
		"the longest":          {strings.Repeat("x", most), 404}, // no dead letter has the id
		"the longest, quoted":  {strings.Repeat(`\"`, most), 404},
		"the longest, escaped": {strings.Repeat(`\u0041`, most), 404},
		"white space":          {`a\t\r\n b`, 404},
		"empty":                {"", 422},
		"a control character":  {`a\u0000b`, 422},
		"an escape":            {`\u001b`, 422},
		"no character":         {`a\uffffb`, 422},
		"one more":             {strings.Repeat("x", most+1), 422},
		"too many bytes":       {strings.Repeat("é", most/2+1), 422},
		"far too long":         {strings.Repeat(`\u0001`, 2*most), 413},
	} {
		a := b.post("/v1/dead-letters/OrderProcessingQueue/unknown/redrive", `{"body":"`+x.letter+`"}`)
		if a.status != x.status {
			t.Errorf("%s: status = %d, body = %.300s, want %d", what, a.status, a.body, x.status)
		}
		if x.status == http.StatusUnprocessableEntity {
			a.wantProblem(t, what, 422, "body.body", "")
		}
	}
}

// TestCookiesAreSecureBehindATLSProxy: cookies require TLS if the browser connects over TLS.
// Behind a proxy only the proxy has TLS.
func TestCookiesAreSecureBehindATLSProxy(t *testing.T) {
	c, _, _ := startClosed(t)
	browser := http.Client{Transport: c.http.Transport, CheckRedirect: func(*http.Request,
		[]*http.Request,
	) error {
		return http.ErrUseLastResponse
	}}
	for said, secure := range map[string]bool{
		"": false, "http": false, "https": true, "HTTPS": true, "https, http": true,
		"http, https": false,
	} {
		for _, request := range []string{"POST /console/stock", "GET /console/sign-in", "POST /console/sign-out"} {
			method, path, _ := strings.Cut(request, " ")
			req, err := http.NewRequest(method, c.API+path, http.NoBody)
			if err != nil {
				t.Fatalf("unexpected error: %v", err)
			}
			req.Header.Set("X-Forwarded-Proto", said)
			res, err := browser.Do(req)
			if err != nil {
				t.Fatalf("unexpected error: %v", err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			cookies := res.Cookies()
			if len(cookies) == 0 {
				t.Errorf("%s sets no cookie: %s, want at least one", request, res.Status)
			}
			for _, k := range cookies {
				if k.Secure != secure || !k.HttpOnly {
					kept, _ := json.Marshal(k)
					t.Errorf("%s behind %q: cookie = %s, want Secure %t and HttpOnly true", request, said, kept, secure)
				}
			}
		}
	}
}
