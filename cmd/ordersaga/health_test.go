package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestHealthAutoDetect checks that the first server that listens decides.
func TestHealthAutoDetect(t *testing.T) {
	t.Parallel()
	serve := func(status int) healthCmd {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return healthCmd{API: s.URL, Path: "/healthz"}
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	absent := healthCmd{API: gone.URL}
	healthy, unhealthy := serve(http.StatusNoContent), serve(http.StatusServiceUnavailable)
	for name, c := range map[string]struct {
		servers []healthCmd
		healthy bool
	}{
		"first is healthy":            {[]healthCmd{healthy, unhealthy}, true},
		"only the second listens":     {[]healthCmd{absent, healthy}, true},
		"first listener is unhealthy": {[]healthCmd{absent, unhealthy, healthy}, false},
		"none listens":                {[]healthCmd{absent, absent}, false},
	} {
		if err := checkFirstListening(env{ctx: t.Context()}, c.servers); (err == nil) != c.healthy {
			t.Errorf("%s: error %v, want healthy = %t", name, err, c.healthy)
		}
	}
}
