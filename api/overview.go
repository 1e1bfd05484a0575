package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// Queue is the number of messages of an SQS queue, as SQS estimates them.
type Queue struct {
	Name     string `json:"name" doc:"Name of the queue." example:"OrderProcessingQueue"`
	Visible  int    `json:"visible" doc:"Messages that wait for a consumer."`
	InFlight int    `json:"inFlight" doc:"Messages that a consumer has received and not deleted."`
	Dead     int    `json:"dead" doc:"Messages in its dead-letter queue."`
}

// Overview is the state of the whole system.
type Overview struct {
	At      time.Time              `json:"at" doc:"When it was read, RFC 3339."`
	Live    map[order.Status]int   `json:"live" doc:"Orders that have not ended, by status."`
	Ended   map[order.Status]Count `json:"ended" doc:"Orders that have ended, by status, up to about a thousand each. Like stuck, undoing and low, it can be 15 seconds old."`
	Queues  []Queue                `json:"queues" nullable:"false" doc:"SQS queues, with their numbers of messages."`
	Workers []Worker               `json:"workers" nullable:"false" doc:"Workers that are alive."`
	Recent  Recent                 `json:"recent" doc:"What the workers did in the last five minutes."`
	Stuck   Count                  `json:"stuck" doc:"Sagas that GET /v1/sagas?stuck=true lists: they need an operator or make no progress."`
	Undoing Count                  `json:"undoing" doc:"Sagas that GET /v1/sagas?undoing=true lists: they compensate, or need an operator to do so."`
	Low     []Level                `json:"low" nullable:"false" doc:"SKUs with fewer than 10 units available."`
	Unknown []string               `json:"unknown" nullable:"false" doc:"Names of the fields that could not be read now. They have their last values, or are empty."`
	Engine  struct {
		Live    int `json:"live" doc:"Sagas that have not ended: of this process (embedded) or of all workers (Dapr)."`
		Waiting int `json:"waiting" doc:"Live sagas that wait for an event or a timer."`
	} `json:"engine" doc:"Sagas in the workflow engine."`
}

// Worker is a worker that is alive.
type Worker struct {
	ID     string    `json:"id" doc:"Id of the worker, unique among those that run." example:"ordersaga-worker-5d9c-x2x7k/1"`
	Sagas  int       `json:"sagas" doc:"Sagas that it runs."`
	SeenAt time.Time `json:"seenAt" doc:"Time of its latest heartbeat."`
}

// Recent is what the workers did in the last five minutes. Each worker records it every
// five seconds and when it stops; what a killed worker did after its last record is lost.
type Recent struct {
	Since   time.Time            `json:"since" doc:"Start of the period: five minutes ago."`
	Started int                  `json:"started" doc:"Sagas that started: their stock was reserved or not available."`
	Ended   map[order.Status]int `json:"ended" doc:"Orders that their sagas ended, by status. It includes neither orders that the reconciler ended nor the last seconds of a killed worker."`
	Undone  int                  `json:"undone" doc:"Ended orders that were compensated: stock released and charges refunded."`
	Refunds int                  `json:"refunds" doc:"Compensated orders that had been charged."`
	P50     float64              `json:"p50Seconds" doc:"Median time from acceptance to the end of an order."`
	P99     float64              `json:"p99Seconds" doc:"99th percentile of that time."`
	Starts  []float64            `json:"startedPerSecond" doc:"Sagas started per second, in each five seconds of the period, oldest first. The last five to ten seconds are left out, as not all workers have recorded them."`
	Ends    []float64            `json:"endedPerSecond" doc:"Orders ended per second, in each five seconds of the period, oldest first."`

	EndsByStatus map[order.Status][]float64 `json:"endedPerSecondByStatus" doc:"endedPerSecond for each status in which an order ended."`
	Latency      []LatencyBucket            `json:"latency" nullable:"false" doc:"Histogram of the time from acceptance to the end of an order."`
}

// lowStock is how many available units are few.
const lowStock = 10

type overviewOutput struct{ Body Overview }

// An overview is reused for all clients: it takes dozens of reads, and streams read it every
// second. The parts that are expensive or change little are reused for longer.
const (
	overviewAge   = 2 * time.Second
	slowPartsAge  = 15 * time.Second
	countedUpTo   = 1000 // orders, also the most that a filter reads
	overviewReads = 100  // orders that the counts of stuck and undoing read
)

type overviewCache struct {
	mu     sync.Mutex
	last   Overview
	slowAt time.Time
	// slowUnknown names the slow parts that could not be read at slowAt.
	slowUnknown []string
}

func (s *server) overviews(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "overview", Method: http.MethodGet, Path: "/v1/overview", Tags: []string{"sagas"}, Summary: "Read the overview",
		Description: "Numbers of orders, the workers and their last five minutes, queues, and SKUs with little stock. " +
			"The response can be two seconds old.",
	}, func(ctx context.Context, _ *struct{}) (*overviewOutput, error) {
		o, err := s.overviewNow(ctx)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return &overviewOutput{Body: o}, nil
	})
}

// overviewNow returns the overview, from the cache if it is recent.
func (s *server) overviewNow(ctx context.Context) (Overview, error) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if time.Since(s.cache.last.At) > overviewAge {
		o := s.cache.last
		if o.At.IsZero() {
			o = emptyOverview()
		}
		if time.Since(s.cache.slowAt) > slowPartsAge {
			unknown, err := s.readSlowParts(ctx, &o)
			if err != nil {
				return o, err
			}
			s.cache.slowAt, s.cache.slowUnknown = time.Now(), unknown
		}
		unknown, err := s.readFastParts(ctx, &o)
		if err != nil {
			return o, err
		}
		o.Unknown = append(append([]string{}, unknown...), s.cache.slowUnknown...)
		s.cache.last = o
	}
	return s.cache.last, nil
}

// readFastParts reads what changes all the time.
func (s *server) readFastParts(ctx context.Context, o *Overview) (unknown []string, err error) {
	at := time.Now().UTC()
	unknown, err = readParts(ctx,
		part{name: "live", read: set(&o.Live, func(ctx context.Context) (map[order.Status]int, error) {
			return s.Orders.CountByStatus(ctx, order.OpenStatuses()...)
		})},
		part{name: "queues", read: set(&o.Queues, s.DeadLetters.Queues)},
		part{name: "workers", read: func(ctx context.Context) error {
			all, err := s.Fleet.Workers(ctx)
			if err != nil {
				return err
			}
			o.Recent = newRecent(all, at)
			o.Workers = alive(all, at)
			return nil
		}},
		part{name: "engine", read: func(ctx context.Context) error {
			st, err := s.Sagas.Stats(ctx)
			if err == nil {
				o.Engine.Live, o.Engine.Waiting = st.Live, st.Waiting
			}
			return err
		}})
	o.At = time.Now().UTC()
	return unknown, err
}

// readSlowParts reads the rest.
func (s *server) readSlowParts(ctx context.Context, o *Overview) (unknown []string, err error) {
	return readParts(ctx,
		part{name: "ended", read: set(&o.Ended, func(ctx context.Context) (map[order.Status]Count, error) {
			counts, err := s.Orders.CountUpTo(ctx, countedUpTo, order.TerminalStatuses()...)
			return toCounts(counts), err
		})},
		part{name: "stuck", read: set(&o.Stuck, func(ctx context.Context) (Count, error) {
			stuck, more, err := s.stuck(ctx, orderstore.Query{Limit: overviewReads}, time.Now())
			return Count{N: len(stuck), More: more != ""}, err
		})},
		part{name: "undoing", read: set(&o.Undoing, func(ctx context.Context) (Count, error) {
			// It includes orders that await the carrier: to leave them out, all would be read.
			q := orderstore.Query{Limit: overviewReads}
			undoing, more, err := s.filter(ctx, q, overviewReads, compensatingStatuses(), isCompensating)
			return Count{N: len(undoing), More: more != ""}, err
		})},
		part{name: "low", read: set(&o.Low, func(ctx context.Context) ([]Level, error) {
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
