package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestHealthOfAny: an image asks the server that it is, and takes its word.
func TestHealthOfAny(t *testing.T) {
	serve := func(status int) healthCmd {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return healthCmd{API: s.URL, Path: "/healthz"}
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	nobody, well, ill := healthCmd{API: gone.URL}, serve(http.StatusNoContent), serve(http.StatusServiceUnavailable)
	for name, c := range map[string]struct {
		servers []healthCmd
		well    bool
	}{
		"the first":  {[]healthCmd{well, ill}, true},
		"the second": {[]healthCmd{nobody, well}, true},
		"one is ill": {[]healthCmd{nobody, ill, well}, false},
		"nobody":     {[]healthCmd{nobody, nobody}, false},
	} {
		if err := healthOfFirst(env{ctx: t.Context()}, c.servers); (err == nil) != c.well {
			t.Errorf("%s: %v", name, err)
		}
	}
}
