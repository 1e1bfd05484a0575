package api

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestFollowersShareOnePoller: the feed reads once for all followers, sends each of them every
// change, and reads nothing without followers.
func TestFollowersShareOnePoller(t *testing.T) {
	var s feeds
	var calls, running atomic.Int64
	next := make(chan int)
	look := func(ctx context.Context) any {
		calls.Add(1)
		running.Add(1)
		defer running.Add(-1)
		select {
		case v := <-next:
			return v
		case <-ctx.Done():
			return nil
		}
	}
	type follower struct {
		f     *feed
		leave func()
	}
	var all []follower
	for range 200 {
		f, leave := s.follow(t.Context(), "o", time.Nanosecond, look)
		all = append(all, follower{f, leave})
	}
	hear := func(sent, want int) {
		t.Helper()
		for _, x := range all {
			seen, n, changed := x.f.now()
			for n <= sent {
				<-changed
				seen, n, changed = x.f.now()
			}
			if seen != want {
				t.Errorf("saw %v, want %d", seen, want)
			}
		}
	}
	next <- 7
	hear(0, 7)
	next <- 7 // it has not changed
	next <- 8
	hear(1, 8)
	if n := running.Load(); n > 1 || calls.Load() > 4 {
		t.Errorf("%d reads at the same time, %d in all, want at most 1 and 4", n, calls.Load())
	}
	if _, n, _ := all[0].f.now(); n != 2 {
		t.Errorf("changes = %d, want 2", n)
	}
	other, leave := s.follow(t.Context(), "other", time.Hour, func(context.Context) any { return "x" })
	if other == all[0].f {
		t.Error("the followers of another saga share the feed, want one of their own")
	}
	leave()
	for _, x := range all[1:] {
		x.leave()
	}
	next <- 9 // the remaining follower still receives it
	all = all[:1]
	hear(2, 9)
	all[0].leave()
	if n := running.Load(); n != 0 || len(s.open) > 0 {
		t.Errorf("without followers, running reads = %d, open feeds = %v, want none", n, s.open)
	}
	again, leave := s.follow(t.Context(), "o", time.Hour, func(context.Context) any { return 1 })
	defer leave()
	if again == all[0].f {
		t.Error("a later follower has the feed that ended, want a new one")
	}
}

func TestStreamLimitIsPerClient(t *testing.T) {
	var s feeds
	first, ok := s.admit("ann", 2)
	if _, again := s.admit("ann", 2); !ok || !again {
		t.Error("one of ann's first 2 streams was rejected, want both admitted")
	}
	if _, ok := s.admit("ann", 2); ok {
		t.Error("ann's third stream was admitted, want it rejected")
	}
	bob, ok := s.admit("bob", 2)
	if !ok {
		t.Error("bob's first stream was rejected, want it admitted")
	}
	first()
	bob()
	if _, ok := s.admit("ann", 2); !ok || s.held["ann"] != 2 || len(s.held) != 1 {
		t.Errorf("ann's next stream admitted = %t, streams held = %v, want true, and 2 of ann only", ok, s.held)
	}
}

// TestIsStreamMatchesOnlyEventStreams: every other request has the usual timeout, even if a saga
// or a SKU has the id events.
func TestIsStreamMatchesOnlyEventStreams(t *testing.T) {
	for request, want := range map[string]bool{
		"GET /v1/sagas/o/events": true, "HEAD /v1/sagas/o/events": true, "GET /v1/sagas/events/events": true, "GET /v1/overview/events": true,
		"GET /v1/sagas/events": false, "DELETE /v1/sagas/events": false, "GET /v1/stock/events": false, "PUT /v1/stock/events": false,
		"POST /v1/sagas/o/events": false, "GET /v1/overview": false, "GET /events": false, "GET /v1/sagas/o/history/events": false,
	} {
		method, path, _ := strings.Cut(request, " ")
		if isStream(httptest.NewRequest(method, path, nil)) != want {
			t.Errorf("%s is a stream: %t, want %t", request, !want, want)
		}
	}
}
