package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"github.com/ordersaga/ordersaga/internal/httpserve"
)

const (
	// streamTime ends streams; clients come back by themselves. The server's
	// write time-out would cut them off a little later.
	streamTime = 90 * time.Second
	lookEvery  = time.Second // as orders have no feed of changes
	streamPath = "/events"
)

// streams are server-sent events: an event when something has changed.
func (s *server) streams(h huma.API) {
	op := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path + streamPath, Tags: []string{"sagas"}, Summary: summary,
			Description: description + " The stream ends after a minute and a half; come back, as browsers do.",
		}
	}
	sse.Register(h, op("followSaga", "/v1/sagas/{id}", "Follow one saga", "Server-sent events: the saga now, and again whenever it has changed, as `saga`. What keeps it from being read comes as `problem`."),
		map[string]any{"saga": Saga{}, "problem": huma.ErrorModel{}},
		func(ctx context.Context, in *IDInput, send sse.Sender) {
			s.stream(ctx, send, func(ctx context.Context) (any, error) { return s.saga(ctx, in.ID) })
		})
	sse.Register(h, op("followOverview", "/v1/overview", "Follow how things stand", "Server-sent events: the overview now, and again every second, as `overview`. What keeps it from being read comes as `problem`."),
		map[string]any{"overview": Overview{}, "problem": huma.ErrorModel{}},
		func(ctx context.Context, _ *struct{}, send sse.Sender) {
			s.stream(ctx, send, func(ctx context.Context) (any, error) { return s.overviewNow(ctx) })
		})
}

// stream sends what look sees each time it has changed, until nobody listens
// or the server goes down.
func (s *server) stream(ctx context.Context, send sse.Sender, look func(context.Context) (any, error)) {
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var last []byte
	for {
		seen, err := look(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p, ok := errors.AsType[*huma.ErrorModel](s.failed(ctx, err))
			if !ok {
				return
			}
			seen = *p
		}
		now, err := json.Marshal(seen)
		if err != nil || !bytes.Equal(now, last) && send.Data(seen) != nil {
			return
		}
		last = now
		select {
		case <-ctx.Done():
			return
		case <-httpserve.Draining(ctx):
			return
		case <-tick.C:
		}
	}
}
