package daprlocal

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestProbe: what answers elsewhere is not the process that is looked at.
func TestProbe(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer up.Close()
	away := httptest.NewServer(http.RedirectHandler(up.URL, http.StatusFound))
	defer away.Close()
	if !answers(t.Context(), up.URL) || answers(t.Context(), away.URL) {
		t.Error("a redirect is taken for an answer, or an answer for none")
	}
}
