package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
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
	At      time.Time              `json:"at"`
	Live    map[order.Status]int   `json:"live" doc:"Orders that have not ended, by status."`
	Ended   map[order.Status]Count `json:"ended" doc:"Orders that have ended, by status, up to a thousand or so of each. Like stuck, undoing and low, up to fifteen seconds old."`
	Queues  []Queue                `json:"queues" nullable:"false"`
	Workers []Worker               `json:"workers" nullable:"false" doc:"Those that live, with their sagas."`
	Recent  Recent                 `json:"recent"`
	Stuck   Count                  `json:"stuck" doc:"Sagas that need attention or have not moved for longer than they may; GET /v1/sagas?stuck=true has them."`
	Undoing Count                  `json:"undoing" doc:"Sagas that are being undone, or need a person for that; GET /v1/sagas?undoing=true has them."`
	Low     []Level                `json:"low" nullable:"false" doc:"SKUs of which little is available."`
	Unknown []string               `json:"unknown" nullable:"false" doc:"Which of the others could not be read just now: they are as they last were, or empty."`
	Engine  struct {
		Live    int `json:"live" doc:"Sagas of this process (embedded) or of all (Dapr) that have not ended."`
		Waiting int `json:"waiting" doc:"Of those, sagas that wait for an event or a timer."`
	} `json:"engine"`
}

// Worker is a worker that is alive.
type Worker struct {
	ID     string    `json:"id" example:"ordersaga-worker-5d9c-x2x7k/1"`
	Sagas  int       `json:"sagas" doc:"Sagas that it runs and that have not ended."`
	SeenAt time.Time `json:"seenAt" doc:"When it wrote its latest heartbeat."`
}

// Recent is what the workers did lately. Each says so every five seconds, and
// when it ends; what one that was killed did since it last said so is not known.
type Recent struct {
	Since   time.Time            `json:"since" doc:"From when on: five minutes ago."`
	Started int                  `json:"started" doc:"Sagas that began: their stock was reserved, or found to be short."`
	Ended   map[order.Status]int `json:"ended" doc:"Orders that their sagas ended, whenever they were accepted, by status. What the reconciler ended, and what a worker did in the seconds before it was killed, is not among them."`
	Undone  int                  `json:"undone" doc:"How many of those were undone: stock released, and what was charged refunded."`
	Refunds int                  `json:"refunds" doc:"How many of those had been charged."`
	P50     float64              `json:"p50Seconds" doc:"Median of the time from when those that ended were accepted."`
	P99     float64              `json:"p99Seconds"`
	Starts  []float64            `json:"startedPerSecond" doc:"Sagas that began, per second, in each five seconds since then, oldest first. The last five to ten seconds, of which not all workers have told yet, are not among them."`
	Ends    []float64            `json:"endedPerSecond" doc:"Orders that ended, likewise."`

	EndsByStatus map[order.Status][]float64 `json:"endedPerSecondByStatus" doc:"endedPerSecond for each status in which an order ended."`
	Latency      []LatencyBucket            `json:"latency" nullable:"false" doc:"Histogram of the times of which p50Seconds is the median: from acceptance to the end of the saga."`
}

const (
	lowStock     = 10          // pieces
	clocksDiffer = time.Minute // at most; what was done later is not believed
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
		Description: "Counts of orders, what the workers did in the last five minutes, queues and short stock. An answer may be two seconds old.",
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
			return s.Orders.CountByStatus(ctx, order.OpenStatuses()...)
		})},
		part{"queues", set(&o.Queues, s.DeadLetters.Queues)},
		part{"workers", func(ctx context.Context) error {
			all, err := s.Fleet.Workers(ctx)
			if err != nil {
				return err
			}
			o.Recent = recent(all, at)
			o.Workers = alive(all, at)
			return nil
		}},
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
		part{"ended", set(&o.Ended, func(ctx context.Context) (map[order.Status]Count, error) {
			counts, err := s.Orders.CountUpTo(ctx, countedUpTo, order.TerminalStatuses()...)
			return toCounts(counts), err
		})},
		part{"stuck", set(&o.Stuck, func(ctx context.Context) (Count, error) {
			stuck, more, err := s.stuck(ctx, orderstore.Query{Limit: lookedAt}, time.Now())
			return Count{N: len(stuck), More: more != ""}, err
		})},
		part{"undoing", set(&o.Undoing, func(ctx context.Context) (Count, error) {
			undoing, more, err := s.filter(ctx, orderstore.Query{Limit: lookedAt}, lookedAt, compensatingStatuses(), isCompensating) // those with the carrier too: to leave them out, all would be read
			return Count{N: len(undoing), More: more != ""}, err
		})},
		part{"low", set(&o.Low, func(ctx context.Context) ([]Level, error) {
			levels, _, err := s.Orders.ListLevels(ctx, "", 1000)
			low := []Level{}
			for _, l := range levels {
				if l.Available < lowStock {
					low = append(low, toLevel(l))
				}
			}
			return low, err
		})})
}

func alive(workers []fleet.Worker, at time.Time) []Worker {
	all := []Worker{}
	for _, w := range workers {
		if w.Alive(at) {
			all = append(all, Worker{ID: w.ID, Sagas: w.Sagas, SeenAt: w.LastSeen})
		}
	}
	return all
}

// recent sums up what workers did lately.
func recent(workers []fleet.Worker, now time.Time) Recent {
	const told = int(fleet.RecentTime/fleet.HeartbeatInterval) - 2 // the last two spans may yet grow
	r := Recent{
		Since: now.Add(-fleet.RecentTime).Truncate(fleet.HeartbeatInterval).Add(fleet.HeartbeatInterval), Ended: map[order.Status]int{},
		Starts: make([]float64, told), Ends: make([]float64, told), EndsByStatus: map[order.Status][]float64{},
	}
	took := hdrhistogram.New(1, fleet.MaxDuration.Milliseconds(), fleet.DurationDigits)
	for _, w := range workers {
		ended := 0
		for _, s := range w.Recent {
			if s.At < r.Since.Unix() || s.At > now.Add(clocksDiffer).Unix() {
				continue
			}
			before := ended
			at := int((s.At - r.Since.Unix()) / int64(fleet.HeartbeatInterval.Seconds()))
			for st, n := range s.Ended {
				ended += n
				if r.EndsByStatus[st] == nil {
					r.EndsByStatus[st] = make([]float64, told)
				}
				if at < told {
					r.EndsByStatus[st][at] += float64(n) / fleet.HeartbeatInterval.Seconds()
				}
				r.Ended[st] += n
				if st != order.StatusCompleted && st != order.StatusRejected { // nothing was held then
					r.Undone += n
				}
			}
			r.Started += s.Started
			r.Refunds += s.Refunded
			if at < told {
				r.Starts[at] += float64(s.Started) / fleet.HeartbeatInterval.Seconds()
				r.Ends[at] += float64(ended-before) / fleet.HeartbeatInterval.Seconds()
			}
		}
		if ended > 0 && w.Durations != nil { // of one that has left it may be of some minutes before, too
			took.Merge(w.Durations)
		}
	}
	r.P50, r.P99 = float64(took.ValueAtQuantile(50))/1000, float64(took.ValueAtQuantile(99))/1000
	r.Latency = latencyBuckets(took)
	return r
}
