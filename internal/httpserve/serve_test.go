package httpserve

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestShutdownFinishesRequestsInFlight also checks that a connection without a request does not
// delay the shutdown.
func TestShutdownFinishesRequestsInFlight(t *testing.T) {
	t.Parallel()
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	began, finish := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(began)
			<-finish
			_, _ = io.WriteString(w, "done")
		}))
	}()
	idle, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	answer := make(chan string, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get("http://" + l.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		b, _ := io.ReadAll(res.Body)
		answer <- string(b)
	}()
	<-began
	cancel()
	at := time.Now()
	close(finish)
	if got := <-answer; got != "done" {
		t.Errorf("the request in flight got %q, want %q", got, "done")
	}
	if err := <-ended; err != nil || time.Since(at) > grace-time.Second {
		t.Errorf("Run returned %v after %s, want nil in less than %s", err, time.Since(at), grace-time.Second)
	}
}

func TestRunReturnsListenerError(t *testing.T) {
	t.Parallel()
	l := listen(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), l, http.NotFoundHandler()); err == nil {
		t.Error("Run on a closed listener returned nil, want an error")
	}
}

func TestDrainingNotifiesEndlessResponses(t *testing.T) {
	t.Parallel()
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-Draining(r.Context())
			_, _ = io.WriteString(w, "goodbye")
		}))
	}()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	cancel()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "goodbye" {
		t.Errorf("response = %q, error %v, want %q", b, err, "goodbye")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if Draining(t.Context()) != nil {
		t.Error("Draining of a context without a server is a channel, want nil")
	}
}

// TestConnectionWithCancelledContextIsClosed: after a read deadline that passes while a
// handler runs, all requests on the connection arrive cancelled.
func TestConnectionWithCancelledContextIsClosed(t *testing.T) {
	t.Parallel()
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/limits" {
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Millisecond))
				<-r.Context().Done()
			}
			if r.Context().Err() != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	in := bufio.NewReader(conn)
	for _, want := range []struct {
		path   string
		status int
		closes bool
	}{{"/", http.StatusOK, false}, {"/limits", http.StatusServiceUnavailable, false}, {"/", http.StatusServiceUnavailable, true}} {
		if _, err := io.WriteString(conn, "GET "+want.path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want.status || res.Close != want.closes {
			t.Errorf("GET %s: status %s, closes the connection: %t; want %d, %t", want.path, res.Status, res.Close, want.status, want.closes)
		}
	}
}

func TestIsLoopbackAcceptsOnlyLoopbackHosts(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "127.0.0.1": true, "127.1.2.3": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "localhost.example": false, "127.0.0.1:80": false, "[::1]": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("IsLoopback(%q) = %v, want %v", host, got, want)
		}
	}
}
