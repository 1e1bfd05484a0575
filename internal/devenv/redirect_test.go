package devenv_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/devenv"
)

// TestSimulatorsReportRedirects verifies that redirects are errors: a POST that was
// redirected and became a GET would seem to succeed and heal nothing.
func TestSimulatorsReportRedirects(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect to %s %s was followed, want an error", r.Method, r.URL)
		_, _ = w.Write([]byte("{}"))
	}))
	defer target.Close()
	front := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusMovedPermanently))
	defer front.Close()
	s := devenv.Simulators{PaymentURL: front.URL, CarrierURL: front.URL, HTTP: front.Client()}
	_, shipments := s.Shipments(t.Context())
	for call, err := range map[string]error{
		"heal": s.HealPayments(t.Context()), "forget": s.ForgetPayments(t.Context()), "shipments": shipments,
	} {
		if err == nil || !strings.Contains(err.Error(), target.URL) {
			t.Errorf("%s: error = %v, want one with the target %s", call, err, target.URL)
		}
	}
}
