// Package api implements the HTTP API. Clients place orders, read sagas, act on them, and
// read and set stock. The OpenAPI document and the validation are derived from the
// handlers' types. Errors are RFC 9457 problem documents that name the faulty field.
package api

import (
	"context"
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

// Orders is what the API uses of *orderstore.Store.
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

// Fleet is what the API uses of *fleet.Registry.
type Fleet interface {
	Workers(ctx context.Context) ([]fleet.Worker, error)
	Backlog(ctx context.Context, at time.Time) (fleet.Backlog, error)
}

// Sagas is what the API uses of an engine. The events of Raise are those of package
// workflows.
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

// Publisher publishes OrderPlaced events.
type Publisher interface {
	PublishOrder(ctx context.Context, o order.Order) error
}

// Reconciler is what the API uses of *reconcile.OnDemand.
type Reconciler interface {
	Ask() (ended <-chan struct{}, now func() reconcile.Reconciliation)
	Latest() reconcile.Reconciliation
}

// Options are the dependencies and the settings of the API.
type Options struct {
	Orders      Orders
	Fleet       Fleet
	Sagas       Sagas
	Engine      string // which engine runs the sagas: embedded or dapr
	Starter     Starter
	Terms       workflows.Terms // until when a step counts as progressing
	Publisher   Publisher
	DeadLetters DeadLetters
	Reconciler  Reconciler
	// ReconcileWait is how long POST /v1/reconcile waits for the end of the run; 0 means
	// 20 s.
	ReconcileWait time.Duration
	// ResolveLost carries out the resolution of an order that needs attention and whose saga
	// is lost or has ended.
	ResolveLost func(ctx context.Context, rec orderstore.Record, d saga.Resolution) error
	// RestartSaga restarts the saga of an order that the engine has lost. nil leaves that to
	// the reconciler.
	RestartSaga func(ctx context.Context, rec orderstore.Record) error
	// Scrub removes purged histories from the engine's files. nil means that purging
	// does so.
	Scrub func() error
	// Stalled returns the ids of the orders whose sagas the reconciler has found
	// stalled. nil means none.
	Stalled func() []string
	// Defer retries a task after the request has ended, until it succeeds or is given
	// up. nil means that such a task runs in the request.
	Defer func(what string, task func(context.Context) error)
	// Ready returns an error that names what is missing until requests can be served.
	Ready func(ctx context.Context) error
	// Auth authenticates clients. nil lets every client that reaches the API do
	// everything.
	Auth Auth
	// RateLimit is the number of requests per second that one client may make; 0 means
	// no limit.
	RateLimit int
	Registry  *prometheus.Registry
	Logger    zerolog.Logger
}

type server struct {
	Options

	cache    overviewCache
	limit    rateLimiter
	backlogs backlogCache
	feeds    feeds
}

// description introduces the OpenAPI document.
const description = "Each order runs as a durable saga: reserve stock, charge the payment, request the shipment. " +
	"If a step fails, completed steps are compensated in reverse order. " +
	"Amounts are in minor units of the order's currency. Errors are RFC 9457 problem documents. " +
	"Unknown fields and query parameters are rejected. So are those given twice, and query parameters without a value. " +
	"Whole numbers may be written as 2.0. " +
	"A request that takes longer than 30 seconds gets 503; an action that it has started by then is carried out. " +
	"A body that has not arrived within a minute gets 400."

const (
	maxBody        = order.MaxEventBytes
	requestTimeout = 30 * time.Second
)

// detached returns a context for what must not stop half way when the client
// disconnects: a recorded order is to be published, and of a persisted action the saga is
// to be notified.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
}

// New returns the API. It panics if o.Registry already has its metrics.
func New(o Options) http.Handler {
	s := &server{Options: o, limit: newRateLimiter(o.RateLimit)}
	m := newMetrics(s)
	r := chi.NewRouter()
	r.Use(tracing.Route, withoutPersonalPath, s.requestID, m.observe, s.recover, secured, s.sameOrigin(), s.authenticated, s.limited,
		bounded, s.streamed, s.audited, middleware.GetHead)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "", "no such path: "+r.URL.Path+"; GET /docs lists the operations")
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed(r))
		problem(w, http.StatusMethodNotAllowed, "", "method "+r.Method+" is not allowed at "+r.URL.Path)
	})
	r.Get("/metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{}).ServeHTTP)

	config := huma.DefaultConfig("ordersaga", "1")
	config.Info.Description = description
	config.DocsPath = ""                       // huma's page loads scripts from other sites; ours does not
	config.CreateHooks = nil                   // no $schema fields in responses
	config.SchemasPath = ""                    // /openapi.json has them all
	config.RejectUnknownQueryParameters = true // a misspelt filter must not list everything
	config.Transformers = []huma.Transformer{withoutValues}
	json := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: decode}
	config.Formats = map[string]huma.Format{"application/json": json, "json": json}
	s.secure(&config)
	config.OnAddOperation = append(config.OnAddOperation, s.document, func(_ *huma.OpenAPI, op *huma.Operation) {
		// bounded has read the body. Huma's own timeout of 5 s would continue, and end
		// the connection's next request before it starts.
		op.BodyReadTimeout = -1
	})
	h := humachi.New(r, config)
	h.UseMiddleware(checkQuery(h), annotate, strict(h))
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
	s.backlog(h)
	s.whoAmI(h)
	describeStatus(h.OpenAPI())
	r.Get("/docs", docs(h.OpenAPI()))
	return r
}
