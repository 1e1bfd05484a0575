// Package api is the HTTP API: it places orders, starts, reads and steers
// sagas, and reads and sets stock. OpenAPI and validation are derived from the
// handlers' types; errors are RFC 9457 problem documents that name the field.
package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/fleet"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Orders is what the API uses of *stock.Store.
type Orders interface {
	AcceptQueued(ctx context.Context, o order.Order) (rec orderstore.Record, created bool, err error)
	Get(ctx context.Context, orderID string) (orderstore.Record, error)
	List(ctx context.Context, q orderstore.Query) (orderstore.Page, error)
	RecordOperatorReply(ctx context.Context, orderID string, n orderstore.Note) error
	AddNote(ctx context.Context, orderID string, n orderstore.Note) error
	Forget(ctx context.Context, orderID string, n orderstore.Note) (erased bool, err error)
	RequestCancel(ctx context.Context, orderID string, n orderstore.Note) error
	Resolve(ctx context.Context, orderID, step, action string, n orderstore.Note) error
	Decide(ctx context.Context, orderID string, d orderstore.Decision, n orderstore.Note) error
	CountByStatus(ctx context.Context, statuses ...order.Status) (map[order.Status]int, error)
	CountUpTo(ctx context.Context, most int, statuses ...order.Status) (map[order.Status]orderstore.Count, error)
	GetReservation(ctx context.Context, orderID string) (orderstore.Reservation, error)
	GetLevel(ctx context.Context, sku string) (orderstore.Level, error)
	Count(ctx context.Context, sku string, counted int64, against string) (orderstore.Level, error)
	ListLevels(ctx context.Context, cursor string, limit int) ([]orderstore.Level, string, error)
}

// Fleet is what the API reads about the workers.
type Fleet interface {
	Workers(ctx context.Context) ([]fleet.Worker, error)
	Backlog(ctx context.Context, at time.Time) (fleet.Backlog, error)
}

// Sagas is what the API uses of an engine. Raise takes one of the events of
// package workflows.
type Sagas interface {
	Get(ctx context.Context, id string) (engine.Instance, error)
	History(ctx context.Context, id string) ([]engine.Event, error)
	Raise(ctx context.Context, id, event string, payload any) error
	Suspend(ctx context.Context, id, reason string) error
	Resume(ctx context.Context, id, reason string) error
	Terminate(ctx context.Context, id, reason string) error
	Purge(ctx context.Context, id string) error
	Stats(ctx context.Context) (engine.Stats, error)
}

// Starter starts the saga of an order at most once.
type Starter interface {
	Start(ctx context.Context, o order.Order) (rec orderstore.Record, created bool, err error)
}

// Publisher publishes OrderPlaced.
type Publisher interface {
	PublishOrder(ctx context.Context, o order.Order) error
}

// Reconciler is what the API uses of *reconcile.OnDemand.
type Reconciler interface {
	Ask() (ended <-chan struct{}, now func() reconcile.Reconciliation)
	Latest() reconcile.Reconciliation
}

// Options are what the API works with.
type Options struct {
	Orders      Orders
	Fleet       Fleet
	Sagas       Sagas
	Engine      string // what runs them: embedded or dapr
	Starter     Starter
	Terms       workflows.Terms // by which it is said what takes too long
	Publisher   Publisher
	DeadLetters DeadLetters
	Reconciler  Reconciler
	// ReconcileWait is for how long the answer to POST /v1/reconcile waits for the
	// run's end; 0 means 20 s.
	ReconcileWait time.Duration
	// Lost carries out what was decided about an order that needs attention
	// and whose saga is lost or has ended.
	Lost func(ctx context.Context, rec orderstore.Record, d saga.Resolution) error
	// Begin starts the saga of an order again that the engine does not know;
	// nil: the reconciler does, later.
	Begin func(ctx context.Context, rec orderstore.Record) error
	// Scrub takes out of the engine's files what was purged; nil: to purge it was
	// enough.
	Scrub func() error
	// Stalled are the ids of the orders whose sagas the reconciler has found
	// stalled; nil: it finds none.
	Stalled func() []string
	// Later runs an errand that outlives the request, until it has succeeded or
	// is given up; nil: there are none.
	Later func(what string, errand func(context.Context) error)
	Ready func(ctx context.Context) error // says what is missing
	Auth  Auth                            // nil: whoever reaches the API may do everything
	// RateLimit is how many requests a second one client may make; 0: any number.
	RateLimit int
	Registry  *prometheus.Registry
	Logger    zerolog.Logger
}

type server struct {
	Options

	cache overviewCache
	limit limiter
	loads loadCache
	feeds feeds
}

const (
	maxBody        = order.MaxEventBytes
	requestTimeout = 30 * time.Second
)

// carriedOut is the context of what must not stop half way though the client
// has gone away: one that was recorded is to be published, and what was
// committed is to be told.
func carriedOut(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
}

// New makes the handler.
func New(o Options) http.Handler {
	s := &server{Options: o, limit: newLimiter(o.RateLimit)}
	m := newMetrics(o.Registry, o.Sagas, func(ctx context.Context) (int, error) {
		n, err := o.Orders.CountByStatus(ctx, order.StatusNeedsAttention)
		return n[order.StatusNeedsAttention], err
	})

	o.Registry.MustRegister(stuckMetric{s})

	r := chi.NewRouter()
	r.Use(tracing.Route, discreetly, s.requestID, m.observe, s.recover, secured, s.sameOrigin(), s.authenticated, s.limited, bounded, s.streamed, s.audited, middleware.GetHead)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "", "there is nothing at "+r.URL.Path+"; see /docs")
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed(r))
		problem(w, http.StatusMethodNotAllowed, "", r.Method+" is not possible at "+r.URL.Path)
	})
	r.Get("/metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{}).ServeHTTP)

	config := huma.DefaultConfig("ordersaga", "1")
	config.Info.Description = "Order sagas: reserve stock, charge, ship, and compensate in reverse on any failure. " +
		"Money is in minor units of the order's currency. Errors are RFC 9457 problem documents. " +
		"Fields and query parameters that an operation does not have, or that are given twice, are refused, and so are query parameters without a value; whole numbers may be written as 2.0. " +
		"A request that takes longer than 30 seconds is answered 503; what an action has begun by then is carried out. A body that has not arrived within a minute is refused with 400."
	config.DocsPath = ""                       // huma's page loads scripts from elsewhere; ours does not
	config.CreateHooks = nil                   // no $schema fields in answers
	config.SchemasPath = ""                    // /openapi.json has them all
	config.RejectUnknownQueryParameters = true // a misspelt filter must not list everything
	config.Transformers = []huma.Transformer{tidied}
	json := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: decode}
	config.Formats = map[string]huma.Format{"application/json": json, "json": json}
	s.secure(&config)
	config.OnAddOperation = append(config.OnAddOperation, s.document, func(_ *huma.OpenAPI, op *huma.Operation) {
		// bounded has read the body. Huma's own 5 s would go on, and end the
		// connection's next request before it begins.
		op.BodyReadTimeout = -1
	})
	h := humachi.New(r, config)
	h.UseMiddleware(onceEach(h), concerning, strict(h))
	s.orders(h)
	s.sagas(h)
	s.actions(h)
	s.stock(h)
	s.overviews(h)
	s.streams(h)
	s.deadLetters(h)
	s.customers(h)
	s.reconcile(h)
	s.health(h)
	s.load(h)
	s.who(h)
	r.Get("/docs", docs(h.OpenAPI()))
	return r
}

// conflict names the fields in which an order differs from the one that has its
// id.
func conflict(err error) error {
	details := []error{&huma.ErrorDetail{Location: "body.orderId", Message: "is already used by a different order"}}
	if differs, ok := errors.AsType[*orderstore.ConflictError](err); ok {
		for _, field := range differs.Fields {
			details = append(details, &huma.ErrorDetail{Location: "body." + field, Message: "is different in the order that has this id"})
		}
	}
	return huma.Error409Conflict(err.Error(), details...)
}

// failed maps an error to a problem document. It is the one place that does.
func (s *server) failed(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, orderstore.ErrNotFound), errors.Is(err, engine.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, orderstore.ErrConflict):
		return conflict(err)
	case errors.Is(err, engine.ErrEnded), errors.Is(err, engine.ErrActive), errors.Is(err, engine.ErrNotCompleted), errors.Is(err, engine.ErrStalled), errors.Is(err, engine.ErrInMemory), errors.Is(err, reconcile.ErrNoSaga), errors.Is(err, orderstore.ErrFinished):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, orderstore.ErrChanged):
		return huma.Error412PreconditionFailed(err.Error() + "; read it and count again")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return huma.Error503ServiceUnavailable("the answer took too long; try again")
	case errors.Is(err, engine.ErrUnavailable):
		zerolog.Ctx(ctx).Warn().Err(err).Msg("the engine does not answer")
		return huma.Error503ServiceUnavailable(engine.ErrUnavailable.Error())
	}
	if later, ok := errors.AsType[*reconcile.LaterError](err); ok {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("a decision cannot be carried out yet")
		return huma.Error503ServiceUnavailable(later.Error())
	}
	if held, ok := errors.AsType[*orderstore.ReservedError](err); ok {
		return huma.Error409Conflict(held.Error(), &huma.ErrorDetail{Location: "body.onHand", Message: held.Error()})
	}
	if told, ok := errors.AsType[huma.StatusError](err); ok {
		return told
	}
	if invalid, ok := errors.AsType[*order.InvalidError](err); ok {
		faults := details(invalid.Fields)
		for i, f := range invalid.Fields {
			if f.Field == "body" { // all of it: an order has no field of this name
				faults[i] = &huma.ErrorDetail{Location: f.Field, Message: f.Message}
			}
		}
		return huma.Error422UnprocessableEntity("the order is not valid", faults...)
	}
	zerolog.Ctx(ctx).Error().Err(err).Msg("request failed")
	return huma.Error500InternalServerError("something failed here; the log has the reason under request " + requestIDOf(ctx))
}
