package api

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/order"
)

// Queue is the load of one SQS queue, as SQS estimates it.
type Queue struct {
	Name     string `json:"name" example:"OrderProcessingQueue"`
	Visible  int    `json:"visible" doc:"Messages that wait."`
	InFlight int    `json:"inFlight" doc:"Messages that somebody works on."`
	Dead     int    `json:"dead" doc:"Messages in its dead-letter queue."`
}

// Overview is how things stand.
type Overview struct {
	At     time.Time            `json:"at"`
	Live   map[order.Status]int `json:"live" doc:"Orders that have not ended, by status."`
	Queues []Queue              `json:"queues"`
	Recent Recent               `json:"recent"`
	Low    []stock.Level        `json:"low" doc:"SKUs of which little is available."`
	Engine struct {
		Live    int `json:"live" doc:"Sagas of this process (embedded) or of all (Dapr) that have not ended."`
		Waiting int `json:"waiting" doc:"Of those, sagas that wait for an event or a timer."`
	} `json:"engine"`
}

// Recent is about the orders accepted lately.
type Recent struct {
	Since   time.Time            `json:"since" doc:"From when on: a minute ago, or when the oldest of the last 500 orders was accepted."`
	Orders  int                  `json:"orders"`
	Ended   map[order.Status]int `json:"ended" doc:"How many of them have ended, by status."`
	P50     float64              `json:"p50Seconds" doc:"Median duration of those."`
	P99     float64              `json:"p99Seconds"`
	Started []float64            `json:"startedPerSecond" doc:"Rate at which they were accepted, in each sixtieth of the time since then, oldest first."`
	Done    []float64            `json:"donePerSecond" doc:"Rate at which they ended, likewise."`
}

const (
	recentTime  = time.Minute
	recentLimit = 500 // more are dear: each of the index's shards is asked for so many
	parts       = 60
	lowStock    = 10 // pieces
)

type overviewOutput struct{ Body Overview }

// overviewAge is for how long one answer is given to all who ask: it costs
// dozens of reads, and streams ask every second.
const overviewAge = 2 * time.Second

type overviewCache struct {
	mu   sync.Mutex
	last Overview
}

func (s *server) overviews(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "overview", Method: http.MethodGet, Path: "/v1/overview", Tags: []string{"sagas"}, Summary: "Read how things stand",
		Description: "Counts of live orders, how the latest ones went, queues and short stock. An answer may be two seconds old.",
	}, func(ctx context.Context, _ *struct{}) (*overviewOutput, error) {
		o, err := s.overviewNow(ctx)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return &overviewOutput{o}, nil
	})
}

func (s *server) overviewNow(ctx context.Context) (Overview, error) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if time.Since(s.cache.last.At) > overviewAge {
		o, err := s.overview(ctx)
		if err != nil {
			return o, err
		}
		s.cache.last = o
	}
	return s.cache.last, nil
}

func (s *server) overview(ctx context.Context) (o Overview, err error) {
	o.At, o.Low = time.Now().UTC(), []stock.Level{}
	live := slices.DeleteFunc(order.Statuses(), order.Status.Terminal)
	if o.Live, err = s.Orders.CountByStatus(ctx, live...); err != nil {
		return o, err
	}
	page, err := s.Orders.List(ctx, stock.Query{Since: o.At.Add(-recentTime), Limit: recentLimit})
	if err != nil {
		return o, err
	}
	o.Recent = recent(page.Records, o.At)
	if o.Queues, err = s.DeadLetters.Queues(ctx); err != nil {
		return o, err
	}
	levels, _, err := s.Orders.ListLevels(ctx, "", 1000)
	if err != nil {
		return o, err
	}
	for _, l := range levels {
		if l.Available < lowStock {
			o.Low = append(o.Low, l)
		}
	}
	st, err := s.Sagas.Stats(ctx)
	o.Engine.Live, o.Engine.Waiting = st.Live, st.Waiting
	return o, err
}

// recent sums up orders, newest first.
func recent(records []stock.Record, now time.Time) Recent {
	r := Recent{
		Since: now.Add(-recentTime), Orders: len(records), Ended: map[order.Status]int{},
		Started: make([]float64, parts), Done: make([]float64, parts),
	}
	if len(records) == recentLimit {
		r.Since = records[len(records)-1].CreatedAt
	}
	part := max(now.Sub(r.Since), time.Millisecond).Seconds() / parts
	count := func(rates []float64, at time.Time) {
		i := int(at.Sub(r.Since).Seconds() / part)
		rates[min(max(i, 0), parts-1)] += 1 / part // clocks differ
	}
	var took []float64
	for _, rec := range records {
		count(r.Started, rec.CreatedAt)
		if rec.Status.Terminal() {
			count(r.Done, rec.UpdatedAt)
			r.Ended[rec.Status]++
			took = append(took, rec.UpdatedAt.Sub(rec.CreatedAt).Seconds())
		}
	}
	if slices.Sort(took); len(took) > 0 {
		r.P50, r.P99 = took[len(took)/2], took[len(took)*99/100]
	}
	return r
}
