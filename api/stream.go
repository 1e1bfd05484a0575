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
	// streamDuration ends streams; clients reconnect. The server's write timeout would
	// cut them off a little later.
	streamDuration = 90 * time.Second
	pollInterval   = time.Second // orders have no feed of changes
	streamPath     = "/events"
	// maxStreams is how many streams one client may have open, and streamRetry the
	// Retry-After of the response to one more, in seconds.
	maxStreams  = 50
	streamRetry = 10
)

// isStream reports whether r opens a stream, which has a time limit of its own.
func isStream(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	id, ok := strings.CutPrefix(r.URL.Path, "/v1/sagas/")
	_, rest, _ := strings.Cut(id, "/") // a saga may be called events
	return r.URL.Path == "/v1/overview"+streamPath || ok && "/"+rest == streamPath
}

// streamed limits how many streams a client has open. It ends a HEAD request at once: no
// client reads the events.
func (s *server) streamed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !isStream(r):
			next.ServeHTTP(w, r)
			return
		case r.Method == http.MethodHead:
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		leave, ok := s.feeds.admit(clientOf(r), maxStreams)
		if !ok {
			w.Header().Set("Retry-After", strconv.Itoa(streamRetry))
			problem(w, http.StatusTooManyRequests, "",
				"this client has "+strconv.Itoa(maxStreams)+" streams open; close one, or retry after the seconds in Retry-After")
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
		// The deadline is that of the last event, which may have passed. Without a new one
		// the client would see the stream cut off.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sse.WriteTimeout))
	})
}

// streams registers the streams of server-sent events: one event for each change.
func (s *server) streams(h huma.API) {
	op := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path + streamPath, Tags: []string{"sagas"}, Summary: summary,
			Description: "Server-sent events: " + description + " A failed read is sent as a `problem` event. " +
				"The stream ends after 90 seconds; reconnect, as browsers do. One client may have " + strconv.Itoa(maxStreams) + " streams open.",
		}
	}
	sse.Register(h, op("followSaga", "/v1/sagas/{id}", "Follow one saga", "the saga now, and again after each change, as `saga`."),
		map[string]any{"saga": Saga{}, "problem": huma.ErrorModel{}},
		func(ctx context.Context, in *IDInput, send sse.Sender) {
			s.stream(ctx, send, "saga "+in.ID, func(ctx context.Context) (any, error) { return s.saga(ctx, in.ID) })
		})
	sse.Register(h, op("followOverview", "/v1/overview", "Follow the overview", "the overview now, and again every second, as `overview`."),
		map[string]any{"overview": Overview{}, "problem": huma.ErrorModel{}},
		func(ctx context.Context, _ *struct{}, send sse.Sender) {
			s.stream(ctx, send, "overview", func(ctx context.Context) (any, error) { return s.overviewNow(ctx) })
		})
}

// stream sends what read returns each time it has changed, until the client disconnects
// or the server shuts down.
func (s *server) stream(ctx context.Context, send sse.Sender, what string, read func(context.Context) (any, error)) {
	ctx, cancel := context.WithTimeout(ctx, streamDuration)
	defer cancel()
	if ctx.Err() != nil {
		return
	}
	if p, ok := auth.FromContext(ctx); ok {
		what += " as " + joined(p.Roles, " or ") // clients with other roles may see other things
	}
	f, leave := s.feeds.follow(ctx, what, pollInterval, func(ctx context.Context) any { return s.readForStream(ctx, read) })
	defer leave()
	for sent := 0; ; {
		last, n, changed := f.now()
		if n != sent && send.Data(last) != nil {
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

// readForStream returns what read returns, or a problem document. It runs outside of any
// request.
func (s *server) readForStream(ctx context.Context, read func(context.Context) (any, error)) (v any) {
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
			zerolog.Ctx(ctx).Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("read for a stream panicked")
			v = failed(fmt.Errorf("panicked: %v", p))
		}
	}()
	v, err := read(ctx)
	if err != nil {
		return failed(err)
	}
	return v
}
