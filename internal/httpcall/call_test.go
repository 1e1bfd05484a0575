package httpcall_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/httpcall"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRedirectsAreErrors: for every method, status and client, with the address where
// they point. Not parallel: the nil client is http.DefaultClient, whose connections the
// check for leaked goroutines counts.
func TestRedirectsAreErrors(t *testing.T) {
	t.Parallel()
	far := "/" + strings.Repeat("a", 1000)
	for name, c := range map[string]struct {
		status   int
		location string
	}{
		"301": {301, "/there"}, "302": {302, "/there"}, "303": {303, "/there"}, "307": {307, "/there"}, "308": {308, "/there"},
		"304": {304, ""}, "300, nowhere": {300, ""}, "301, nowhere": {301, ""}, "308, nowhere": {308, ""},
		"far": {301, far}, "no text": {302, "/\xff\xfe"}, "no URL": {302, "http://[::1"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/here" {
				t.Errorf("%s: the redirect was followed with %s %s, want it not followed", name, r.Method, r.URL)
			}
			if c.location != "" {
				w.Header()["Location"] = []string{c.location}
			}
			w.WriteHeader(c.status)
		}))
		follows := &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
		for _, client := range []*http.Client{nil, follows} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
				req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/here?token=secret", strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				res, err := httpcall.Do(client, req)
				if err == nil {
					_ = res.Body.Close()
					t.Errorf("%s: %s got %s, want an error", name, method, res.Status)
					continue
				}
				r, ok := errors.AsType[*httpcall.RedirectedError](err)
				if !ok || r.Status != c.status || !strings.HasPrefix(c.location, strings.TrimRight(strings.TrimSuffix(r.To, "..."), "\uFFFD")) {
					t.Errorf("%s: %s got the error %v, want a RedirectedError with status %d to %q", name, method, err, c.status, c.location)
				}
				if s := err.Error(); len(s) > 600 || !utf8.ValidString(s) || strings.Contains(s, "secret") {
					t.Errorf("%s: error = %q, want at most 600 bytes of UTF-8 without the query", name, s)
				}
			}
		}
		follows.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		server.Close()
	}
}

func TestOtherResponsesAreReturned(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "tea")
	}))
	defer server.Close()
	client := server.Client()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := httpcall.Do(client, req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || string(body) != "tea" || res.StatusCode != http.StatusTeapot {
		t.Errorf("response = %s %q, error %v, want 418 with %q", res.Status, body, err, "tea")
	}
	if client.CheckRedirect != nil {
		t.Error("Do changed the client's CheckRedirect, want nil as before")
	}
}
