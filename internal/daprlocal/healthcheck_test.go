package daprlocal

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestHealthCheckDoesNotFollowRedirects: a response from another address is not
// one of the process.
func TestHealthCheckDoesNotFollowRedirects(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer up.Close()
	away := httptest.NewServer(http.RedirectHandler(up.URL, http.StatusFound))
	defer away.Close()
	if !responds(t.Context(), up.URL) || responds(t.Context(), away.URL) {
		t.Error("the health check follows a redirect, or rejects a 204, want neither")
	}
}
