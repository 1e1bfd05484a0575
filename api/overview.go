package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/activities/stock"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/workflows/saga"
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
	At      time.Time                    `json:"at"`
	Live    map[order.Status]int         `json:"live" doc:"Orders that have not ended, by status."`
	Ended   map[order.Status]stock.Count `json:"ended" doc:"Orders that have ended, by status, up to a thousand or so of each. Like stuck, undoing and low, up to fifteen seconds old."`
	Queues  []Queue                      `json:"queues" nullable:"false"`
	Workers []stock.Worker               `json:"workers" nullable:"false" doc:"Those that live, with their sagas."`
	Recent  Recent                       `json:"recent"`
	Stuck   stock.Count                  `json:"stuck" doc:"Sagas that need attention or have not moved for longer than they may; GET /v1/sagas?stuck=true has them."`
	Undoing stock.Count                  `json:"undoing" doc:"Sagas that are being undone right now."`
	Low     []stock.Level                `json:"low" nullable:"false" doc:"SKUs of which little is available."`
	Unknown []string                     `json:"unknown" nullable:"false" doc:"Which of the others could not be read just now: they are as they last were, or empty."`
	Engine  struct {
		Live    int `json:"live" doc:"Sagas of this process (embedded) or of all (Dapr) that have not ended."`
		Waiting int `json:"waiting" doc:"Of those, sagas that wait for an event or a timer."`
	} `json:"engine"`
}

// Recent is about the orders accepted lately.
type Recent struct {
	Since   time.Time            `json:"since" doc:"From when on: a minute ago, or when the oldest of the last 500 orders was accepted."`
	Orders  int                  `json:"orders"`
	Ended   map[order.Status]int `json:"ended" doc:"How many of them have ended, by status."`
	Undone  int                  `json:"undone" doc:"How many of those were undone: stock released, and what was charged refunded."`
	Refunds int                  `json:"refunds" doc:"How many of those had been charged."`
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

// An answer is given to all who ask for as long: it costs dozens of reads, and
// streams ask every second. What costs the most, or changes little, lasts longer.
const (
	overviewAge = 2 * time.Second
	slowAge     = 15 * time.Second
	countedUpTo = 1000
	lookedAt    = 100
)

type overviewCache struct {
	mu     sync.Mutex
	last   Overview
	slowAt time.Time
	// slowUnknown is what could not be read then.
	slowUnknown []string
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
		o := s.cache.last
		if o.At.IsZero() {
			o = unread()
		}
		if time.Since(s.cache.slowAt) > slowAge {
			unknown, err := s.slow(ctx, &o)
			if err != nil {
				return o, err
			}
			s.cache.slowAt, s.cache.slowUnknown = time.Now(), unknown
		}
		unknown, err := s.overview(ctx, &o)
		if err != nil {
			return o, err
		}
		o.Unknown = append(append([]string{}, unknown...), s.cache.slowUnknown...)
		s.cache.last = o
	}
	return s.cache.last, nil
}

// overview reads what changes all the time.
func (s *server) overview(ctx context.Context, o *Overview) (unknown []string, err error) {
	at := time.Now().UTC()
	unknown, err = readParts(ctx,
		part{"live", set(&o.Live, func(ctx context.Context) (map[order.Status]int, error) {
			return s.Orders.CountByStatus(ctx, slices.DeleteFunc(order.Statuses(), order.Status.Terminal)...)
		})},
		part{"recent", set(&o.Recent, func(ctx context.Context) (Recent, error) {
			page, err := s.Orders.List(ctx, stock.Query{Since: at.Add(-recentTime), Limit: recentLimit})
			return recent(page.Records, at), err
		})},
		part{"queues", set(&o.Queues, s.DeadLetters.Queues)},
		part{"workers", set(&o.Workers, func(ctx context.Context) ([]stock.Worker, error) {
			workers, err := s.Orders.Workers(ctx)
			return append([]stock.Worker{}, workers...), err
		})},
		part{"engine", func(ctx context.Context) error {
			st, err := s.Sagas.Stats(ctx)
			if err == nil {
				o.Engine.Live, o.Engine.Waiting = st.Live, st.Waiting
			}
			return err
		}})
	o.At = time.Now().UTC()
	return unknown, err
}

// slow reads the rest.
func (s *server) slow(ctx context.Context, o *Overview) (unknown []string, err error) {
	return readParts(ctx,
		part{"ended", set(&o.Ended, func(ctx context.Context) (map[order.Status]stock.Count, error) {
			return s.Orders.CountUpTo(ctx, countedUpTo, slices.DeleteFunc(order.Statuses(), func(st order.Status) bool { return !st.Terminal() })...)
		})},
		part{"stuck", set(&o.Stuck, func(ctx context.Context) (stock.Count, error) {
			stuck, more, err := s.stuck(ctx, stock.Query{Limit: lookedAt}, time.Now())
			return stock.Count{N: len(stuck), More: more != ""}, err
		})},
		part{"undoing", set(&o.Undoing, s.undoing)},
		part{"low", set(&o.Low, func(ctx context.Context) ([]stock.Level, error) {
			levels, _, err := s.Orders.ListLevels(ctx, "", 1000)
			return append([]stock.Level{}, slices.DeleteFunc(levels, func(l stock.Level) bool { return l.Available >= lowStock })...), err
		})})
}

// undoing counts sagas that compensate. The engine knows, one by one, so only
// the latest that may are looked at.
func (s *server) undoing(ctx context.Context) (c stock.Count, err error) {
	page, err := s.Orders.List(ctx, stock.Query{Statuses: []order.Status{order.StatusReserved, order.StatusAwaitingApproval, order.StatusPaid}, Limit: lookedAt})
	if err != nil {
		return c, err
	}
	var n atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, rec := range page.Records {
		g.Go(func() error {
			inst, err := s.Sagas.Get(gctx, rec.OrderID)
			if err != nil && !errors.Is(err, engine.ErrNotFound) {
				return err
			}
			if saga.IsUndoing(inst.CustomStatus) {
				n.Add(1)
			}
			return nil
		})
	}
	err = g.Wait()
	return stock.Count{N: int(n.Load()), More: page.Next != ""}, err
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
			if rec.Status != order.StatusCompleted && rec.Status != order.StatusRejected { // nothing was held then
				r.Undone++
			}
			if rec.RefundID != "" {
				r.Refunds++
			}
			took = append(took, rec.UpdatedAt.Sub(rec.CreatedAt).Seconds())
		}
	}
	if slices.Sort(took); len(took) > 0 {
		r.P50, r.P99 = took[len(took)/2], took[len(took)*99/100]
	}
	return r
}
