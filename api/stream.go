package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/httpserve"
)

const (
	// streamTime ends streams; clients come back by themselves. The server's
	// write time-out would cut them off a little later.
	streamTime = 90 * time.Second
	lookEvery  = time.Second // as orders have no feed of changes
	streamPath = "/events"
	// streamsEach is how many streams one client may have open, and streamRetry
	// for how many seconds one is told to wait that has them.
	streamsEach = 50
	streamRetry = 10
)

// isStream reports whether r asks for a stream, which has its own time.
func isStream(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	id, ok := strings.CutPrefix(r.URL.Path, "/v1/sagas/")
	_, rest, _ := strings.Cut(id, "/") // a saga may be called events
	return r.URL.Path == "/v1/overview"+streamPath || ok && "/"+rest == streamPath
}

// streamed bounds how many streams a client has open. To HEAD it answers at once:
// nobody reads what would follow.
func (s *server) streamed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !isStream(r):
			next.ServeHTTP(w, r)
			return
		case r.Method == http.MethodHead:
			ctx, end := context.WithCancel(r.Context())
			end()
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		leave, ok := s.feeds.admit(asker(r), streamsEach)
		if !ok {
			w.Header().Set("Retry-After", strconv.Itoa(streamRetry))
			problem(w, http.StatusTooManyRequests, "", "this client has "+strconv.Itoa(streamsEach)+" streams open; close one, or wait as long as Retry-After says")
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
		// The last event may be long ago, and the time to send it over: the end is
		// sent, too.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sse.WriteTimeout)) // else the client sees it cut off
	})
}

// streams are server-sent events: an event when something has changed.
func (s *server) streams(h huma.API) {
	op := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path + streamPath, Tags: []string{"sagas"}, Summary: summary,
			Description: description + " The stream ends after a minute and a half; come back, as browsers do. One client may have " + strconv.Itoa(streamsEach) + " streams open.",
		}
	}
	sse.Register(h, op("followSaga", "/v1/sagas/{id}", "Follow one saga", "Server-sent events: the saga now, and again whenever it has changed, as `saga`. What keeps it from being read comes as `problem`."),
		map[string]any{"saga": Saga{}, "problem": huma.ErrorModel{}},
		func(ctx context.Context, in *IDInput, send sse.Sender) {
			s.stream(ctx, send, "saga "+in.ID, func(ctx context.Context) (any, error) { return s.saga(ctx, in.ID) })
		})
	sse.Register(h, op("followOverview", "/v1/overview", "Follow how things stand", "Server-sent events: the overview now, and again every second, as `overview`. What keeps it from being read comes as `problem`."),
		map[string]any{"overview": Overview{}, "problem": huma.ErrorModel{}},
		func(ctx context.Context, _ *struct{}, send sse.Sender) {
			s.stream(ctx, send, "overview", func(ctx context.Context) (any, error) { return s.overviewNow(ctx) })
		})
}

// stream sends what look sees each time it has changed, until nobody listens
// or the server goes down.
func (s *server) stream(ctx context.Context, send sse.Sender, what string, look func(context.Context) (any, error)) {
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	if ctx.Err() != nil {
		return
	}
	if p, ok := auth.FromContext(ctx); ok {
		what += " as " + roles(p.Roles) // who may see less shares with nobody who may see more
	}
	f, leave := s.feeds.follow(ctx, what, lookEvery, func(ctx context.Context) any { return s.seen(ctx, look) })
	defer leave()
	for sent := 0; ; {
		seen, n, changed := f.now()
		if n != sent && send.Data(seen) != nil {
			return
		}
		sent = n
		select {
		case <-ctx.Done():
			return
		case <-httpserve.Draining(ctx):
			return
		case <-changed:
		}
	}
}

// seen is what look sees, or the problem that it has. It runs outside of any
// request.
func (s *server) seen(ctx context.Context, look func(context.Context) (any, error)) (v any) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	failed := func(err error) any {
		if p, ok := errors.AsType[*huma.ErrorModel](s.failed(ctx, err)); ok {
			return *p
		}
		return huma.ErrorModel{Status: http.StatusInternalServerError, Title: http.StatusText(http.StatusInternalServerError)}
	}
	defer func() {
		if p := recover(); p != nil {
			zerolog.Ctx(ctx).Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("what a stream follows panicked")
			v = failed(fmt.Errorf("panicked: %v", p))
		}
	}()
	v, err := look(ctx)
	if err != nil {
		return failed(err)
	}
	return v
}
