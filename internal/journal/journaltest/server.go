package journaltest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// Server is an HTTP service that keeps its state in a journal.
type Server struct {
	Handler http.Handler
	Health  string // path of the check that reports whether changes can be made durable
	// Watch returns an error once the journal has failed.
	Watch func(context.Context) error
	Close func() error
}

// Request is a request, and the response that it has on a disk that works.
type Request struct {
	Method, Path string
	Header       map[string]string
	Body         string
	Status       int
	Text         string // part of the response's body
}

// ServerTest tests that no response of a server shows what is not on disk. All fields but
// Before are required.
type ServerTest struct {
	// Open opens the server with its journal in dir on fs. The test closes it.
	Open func(t *testing.T, dir string, fs journal.FS) Server
	// Before are requests that are made before.
	Before []Request
	// Change changes the state. It can be made again after a restart that lost the change.
	Change Request
	// Shows are requests whose responses show the change.
	Shows []Request
}

// Run runs the test.
func (s ServerTest) Run(t *testing.T) {
	t.Helper()
	for name, test := range map[string]func(*testing.T){"slow disk": s.slow, "failing disk": s.failing, "full disk": s.full} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// slow checks that responses wait for a write that has not returned, also those of others.
func (s ServerTest) slow(t *testing.T) {
	disk := NewDisk()
	server := s.open(t, t.TempDir(), disk)
	disk.Hold()
	changed := make(chan string)
	go func() { changed <- s.Change.problem(context.Background(), server.Handler) }()
	<-disk.Tried()
	for _, r := range s.Shows {
		r.refused(t, server, "while the write is under way")
	}
	disk.Release()
	if problem := <-changed; problem != "" {
		t.Errorf("after the write: %s", problem)
	}
	for _, r := range s.Shows {
		r.accepted(t, server, "after the write")
	}
	require.NoError(t, server.Close())
}

// failing checks that nothing that a response showed is missing after a restart, and that the
// server ends.
func (s ServerTest) failing(t *testing.T) {
	disk, dir := NewDisk(), t.TempDir()
	server := s.open(t, dir, disk)
	watched := make(chan error, 1)
	go func() { watched <- server.Watch(context.Background()) }()
	disk.Fail(syscall.EIO)
	for _, r := range append([]Request{s.Change}, s.Shows...) {
		r.refused(t, server, "after a failed write")
	}
	if err := <-watched; err == nil {
		t.Error("Watch returns nil after a failed write, want an error")
	}
	server.healthy(t, http.StatusServiceUnavailable)
	if err := server.Close(); err == nil {
		t.Error("Close returns nil after a failed write, want an error")
	}
	server = s.Open(t, dir, journal.Disk{})
	s.Change.accepted(t, server, "after the restart")
	require.NoError(t, server.Close())
}

// full checks that requests end in time while the disk is full, and succeed after it.
func (s ServerTest) full(t *testing.T) {
	disk := NewDisk()
	server := s.open(t, t.TempDir(), disk)
	server.healthy(t, http.StatusOK)
	disk.Fail(syscall.ENOSPC)
	for _, r := range append([]Request{s.Change, s.Change}, s.Shows...) {
		r.refused(t, server, "while the disk is full")
	}
	<-disk.Tried()
	<-disk.Tried() // another attempt: the server has noticed the first
	server.healthy(t, http.StatusServiceUnavailable)
	disk.Fail(nil)
	for _, r := range s.Shows {
		r.accepted(t, server, "with space again")
	}
	server.healthy(t, http.StatusOK)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, server.Watch(ctx), server.Close())
}

func (s ServerTest) open(t *testing.T, dir string, fs journal.FS) Server {
	t.Helper()
	server := s.Open(t, dir, fs)
	for _, r := range s.Before {
		r.accepted(t, server, "before")
	}
	return server
}

// patience is the deadline of a request that is expected to fail.
const patience = 100 * time.Millisecond

// refused makes a request that must not get its response.
func (r Request) refused(t *testing.T, server Server, when string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if r.problem(ctx, server.Handler) == "" {
		t.Errorf("%s: %s has status %d and %q, want an error", when, r, r.Status, r.Text)
	}
}

func (r Request) accepted(t *testing.T, server Server, when string) {
	t.Helper()
	if problem := r.problem(t.Context(), server.Handler); problem != "" {
		t.Errorf("%s: %s", when, problem)
	}
}

func (s Server) healthy(t *testing.T, want int) {
	t.Helper()
	r := Request{Method: http.MethodGet, Path: s.Health, Status: want}
	r.accepted(t, s, "health check")
}

// problem makes a request, and returns how its response differs from the wanted one, or "".
func (r Request) problem(ctx context.Context, h http.Handler) string {
	req := httptest.NewRequestWithContext(ctx, r.Method, r.Path, strings.NewReader(r.Body))
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != r.Status || !strings.Contains(string(body), r.Text) {
		return fmt.Sprintf("%s = %d %s (%v), want %d with %q", r, w.Code, body, err, r.Status, r.Text)
	}
	return ""
}

// String returns what the request is, for messages.
func (r Request) String() string { return strings.TrimSpace(r.Method + " " + r.Path + " " + r.Body) }
