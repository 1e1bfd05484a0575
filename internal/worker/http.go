package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/console"
	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// signals is the engine as the API sees it: events are raised as the saga package's
// one signal, and histories have no payment tokens.
type signals struct{ engine.Engine }

// Raise sends an event to a saga.
func (s signals) Raise(ctx context.Context, id, event string, payload any) error {
	return saga.Send(ctx, s.Engine, id, event, payload)
}

// tokenField is a payment token in an event: a durable-task client that has started a
// saga past intake has written it into the history.
var tokenField = regexp.MustCompile(`(?i)"token"\s*:\s*"(?:[^"\\]|\\.)*"`)

// History returns the events of a saga without payment tokens.
func (s signals) History(ctx context.Context, id string) ([]engine.Event, error) {
	events, err := s.Engine.History(ctx, id)
	for i := range events {
		events[i].Data = tokenField.ReplaceAll(events[i].Data, []byte(`"token":""`))
	}
	return events, err
}

func (w *Worker) engineName() string {
	if w.Dapr != nil {
		return "dapr"
	}
	return "embedded"
}

// ready returns why the worker cannot process orders; nil means that it can.
func (w *Worker) ready(ctx context.Context) error {
	if _, err := w.parts.Store.GetLevel(ctx, "readiness"); err != nil && !errors.Is(err, orderstore.ErrNotFound) {
		return fmt.Errorf("DynamoDB does not answer: %w", err)
	}
	return w.parts.Ready()
}

// handler serves the API and the console.
func (w *Worker) handler(starter intake.Starter, deferred deferredTasks, onDemand *reconcile.OnDemand) http.Handler {
	p := w.parts
	options := api.Options{
		Orders: p.Store, Fleet: p.Fleet, Sagas: signals{Engine: p.Engine}, Engine: w.engineName(), Starter: starter, Terms: w.Terms,
		Publisher:   intake.Publisher{Topic: snspublisher.New(p.Cloud.SNS, p.Resources.OrderTopic)},
		DeadLetters: newDeadLetters(p.Cloud, p.Resources),
		Reconciler:  onDemand, ResolveLost: w.Reconciler().ResolveWithoutSaga, RestartSaga: w.Reconciler().RestartSaga, Stalled: w.stalled.IDs,
		Defer:     deferred.Add,
		RateLimit: w.RateLimit, Logger: w.Logger, Registry: p.Registry,
		Ready: w.ready,
	}
	if eng, ok := p.Engine.(interface{ Scrub() error }); ok {
		options.Scrub = eng.Scrub
	}
	if w.Auth != nil {
		options.Auth = w.Auth
	}
	apiHandler := api.New(options)
	handler := routes(apiHandler, console.New(apiHandler, w.Auth))
	if w.Auth != nil {
		handler = withSession(handler)
	}
	if at, ok := w.Listener.Addr().(*net.TCPAddr); ok && at.IP.IsLoopback() && w.Auth == nil {
		return api.OnLoopback(w.PublicURL, handler)
	}
	return handler
}

// routes serves the console's pages and the API side by side: a request for the API does
// not pass through the console.
func routes(apiHandler, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if console.Serves(r.URL.Path) {
			pages.ServeHTTP(w, r)
			return
		}
		apiHandler.ServeHTTP(w, r)
	})
}

// withSession lets a browser that has signed in use both: the console's pages follow the
// API's streams from the browser.
func withSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth.UseSession(r)
		next.ServeHTTP(w, r)
	})
}
