package devenv_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/devenv"
)

// TestSimulatorsDoNotRedirect: a redirected POST heals nothing.
func TestSimulatorsDoNotRedirect(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was followed", r.Method, r.URL)
		_, _ = w.Write([]byte("{}"))
	}))
	defer target.Close()
	front := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusMovedPermanently))
	defer front.Close()
	s := devenv.Simulators{PaymentURL: front.URL, CarrierURL: front.URL, HTTP: front.Client()}
	_, shipments := s.Shipments(t.Context())
	for what, err := range map[string]error{"heal": s.HealPayments(t.Context()), "forget": s.ForgetPayments(t.Context()), "shipments": shipments} {
		if err == nil || !strings.Contains(err.Error(), target.URL) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
