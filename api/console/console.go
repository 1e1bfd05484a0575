// Package console serves the web console. Its pages use only the API, so that
// actions from the console are checked and audited like those of any client.
// Pages are rendered on the server and work without JavaScript; with it they
// follow the API's event streams.
package console

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
)

//go:embed pages assets
var files embed.FS

// New returns the console's pages, which call the API in this process. Mount it at the
// paths that Serves reports. issuer is nil without authentication; with one, apply
// auth.UseSession to every request, also to those for the API.
func New(apiHandler http.Handler, issuer *auth.Issuer) http.Handler {
	c := console{api: apiHandler, issuer: issuer}
	assets, err := fs.Sub(files, "assets")
	if err != nil {
		panic(err) // cannot happen: the directory is embedded
	}
	r := chi.NewRouter()
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(apiHandler) // which rejects and audits the request
	r.Use(securityHeaders, crossOrigin.Handler, middleware.GetHead)
	r.Get("/", c.page("overview", c.overview))
	r.Get("/console/sagas", c.page("sagas", c.sagas))
	r.Post("/console/sagas", c.bulk)
	r.Post("/console/customers/{id}/forget", c.forget)
	r.Get("/console/sagas/{id}", c.page("saga", c.saga))
	r.Post("/console/sagas/{id}/{action}", c.act)
	r.Get("/console/stock", c.page("stock", c.stock))
	r.Post("/console/stock", c.setStock)
	r.Get("/console/dead-letters", c.page("dead-letters", c.deadLetters))
	r.Post("/console/dead-letters/{queue}/redrive", c.redriveAll)
	r.Post("/console/dead-letters/{queue}/{id}", c.redrive)
	r.Post("/console/dead-letters/{queue}/{id}/delete", c.deleteDeadLetter)
	if c.signsIn() {
		r.Get(auth.SignInPath, c.signInStep(issuer.SignIn))
		r.Get(auth.SignedInPath, c.signInStep(issuer.SignedIn))
		r.Post(auth.SignOutPath, c.signOut)
	}
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		view{Page: "problem", Data: "There is no page at " + r.URL.Path + "."}.write(w, "problem", http.StatusNotFound)
	})
	r.Get("/console", redirectToOverview)
	r.Get("/console/", redirectToOverview)
	r.Handle("/console/assets/*", http.StripPrefix("/console/assets/", cacheable(http.FileServerFS(assets))))
	return r
}

// Serves reports whether a path is one of the console's: / and those below /console. All
// others are the API's.
func Serves(path string) bool {
	return path == "/" || path == "/console" || strings.HasPrefix(path, "/console/")
}

func redirectToOverview(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/", http.StatusFound)
}

type console struct {
	api    http.Handler
	issuer *auth.Issuer
}

func securityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
			"img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		r.Body = http.MaxBytesReader(w, r.Body, 7*order.MaxEventBytes) // a dead letter twice, before and after editing, escaped in a form
		next.ServeHTTP(w, r)
	})
}

func cacheable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=300")
		next.ServeHTTP(w, r)
	})
}

// view is the data of every page.
type view struct {
	Page   string
	Stream string // URL of the event stream; "" if the page does not change by itself
	Result string // of the action before; "" if there was none
	Failed bool   // the action before failed
	Who    api.Who
	// SignIn is the URL to sign in at; "" if that does not help.
	SignIn   string
	SignsOut bool
	Data     any
}

// Acts reports whether the user may act.
func (v view) Acts() bool { return v.Who.Open || slices.Contains(v.Who.Roles, auth.Operator) }

var pages = func() map[string]*template.Template {
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(files, "pages/layout.html"))
	all := map[string]*template.Template{}
	for _, name := range []string{"overview", "sagas", "saga", "stock", "dead-letters", "problem"} {
		all[name] = template.Must(template.Must(layout.Clone()).ParseFS(files, "pages/"+name+".html"))
	}
	return all
}()

var functions = template.FuncMap{
	"money":   money.Format,
	"when":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") },
	"moment":  momentOf,
	"seconds": func(s float64) string { return short(time.Duration(s * float64(time.Second))) },
	"took":    func(s api.Saga) string { return took(s.CreatedAt, s.UpdatedAt, s.Status.Terminal()) },
	"class":   statusClass,
}

// statusClass returns a status as a CSS class.
func statusClass(s any) string { return strings.ToLower(strings.ReplaceAll(toString(s), "_", "-")) }

func toString(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case order.Status:
		return string(v)
	case engine.RuntimeStatus:
		return string(v)
	}
	return ""
}

// page returns a handler that renders the page with the data that get returns.
func (c console) page(name string, get func(r *http.Request) (data any, stream string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		data, stream, err := get(r)
		v := view{Page: name, Stream: stream, Data: data, SignsOut: c.signsIn()}
		if err == nil {
			err = c.get(r, "/v1/whoami", &v.Who)
		}
		if err != nil {
			c.problem(w, r, err)
			return
		}
		v.Result, v.Failed = c.takeResult(w, r)
		v.write(w, name, http.StatusOK)
	}
}

// problem renders an error, with a link to sign in if that is what is missing.
func (c console) problem(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	v := view{Page: "problem", Data: err.Error()}
	v.Result, v.Failed = c.takeResult(w, r)
	if c.signsIn() && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
		v.SignIn = auth.SignInPath + "?" + url.Values{"to": {r.URL.RequestURI()}}.Encode()
		// Neither fetch nor a form can follow a redirect to the issuer: the content
		// security policy keeps a form's redirects on this site (form-action), the
		// one after an action too. Those get a page with a link.
		cannotFollow := r.Header.Get("Sec-Fetch-Mode") == "cors" || r.Header.Get("Sec-Fetch-Site") == "same-origin"
		if status == http.StatusUnauthorized && !cannotFollow {
			http.Redirect(w, r, v.SignIn, http.StatusFound)
			return
		}
	}
	v.write(w, "problem", status)
}

func (v view) write(w http.ResponseWriter, name string, status int) {
	var b bytes.Buffer
	if err := pages[name].Execute(&b, v); err != nil {
		http.Error(w, "render the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w) // the client may have disconnected
}

func (c console) signsIn() bool { return c.issuer != nil && c.issuer.SignsIn() }

// signInStep returns a handler of a step of the sign-in.
func (c console) signInStep(step func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := step(w, r); err != nil {
			status := http.StatusUnauthorized
			if errors.Is(err, auth.ErrIssuer) {
				status = http.StatusServiceUnavailable
			}
			view{Page: "problem", Data: err.Error(), SignIn: auth.SignInPath}.write(w, "problem", status)
		}
	}
}

func (c console) signOut(w http.ResponseWriter, r *http.Request) {
	c.issuer.SignOut(w, r)
	v := view{Page: "problem", Data: "You have signed out of the console. You may still be signed in at the issuer.", SignIn: auth.SignInPath}
	v.write(w, "problem", http.StatusOK)
}

func (c console) overview(r *http.Request) (any, string, error) {
	var o api.Overview
	err := c.get(r, "/v1/overview", &o)
	return overviewOf(o), "/v1/overview/events", err
}

// runtimeStatuses are the values of the API's runtimeStatus parameter.
var runtimeStatuses = []string{"PENDING", "RUNNING", "SUSPENDED", "STALLED", "COMPLETED", "FAILED", "TERMINATED", "NONE"}

type sagasPage struct {
	Sagas    []api.Saga
	Next     string // URL of the next page, "" if there is none
	First    string // URL of the first page
	Statuses []order.Status
	Runtimes []string
	Query    url.Values
}

func (p sagasPage) Has(name string, s any) bool { return slices.Contains(p.Query[name], toString(s)) }

// Summary describes the choice in a menu of checkboxes.
func (p sagasPage) Summary(name string) string {
	chosen := withoutEmpty(p.Query[name])
	switch len(chosen) {
	case 0:
		return "any"
	case 1:
		return chosen[0]
	}
	return fmt.Sprintf("%d selected", len(chosen))
}

// defaultSince is the filter of a list that is opened without any: a day's
// orders.
const defaultSince = "24h"

// filters returns the filters of a request for the list of sagas.
func filters(r *http.Request) url.Values {
	q := r.URL.Query()
	if len(q) == 0 {
		q.Set("since", defaultSince)
	}
	return q
}

func withoutEmpty(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(s string) bool { return strings.TrimSpace(s) == "" })
}

// apiQuery returns the API's query for the console's filters.
func apiQuery(q url.Values) url.Values {
	query := url.Values{"limit": {"50"}}
	for _, name := range []string{"customer", "sku", "since", "before", "stuck", "undoing", "cursor"} {
		if v := strings.TrimSpace(q.Get(name)); v != "" {
			query.Set(name, v)
		}
	}
	for _, name := range []string{"status", "runtimeStatus"} {
		if chosen := withoutEmpty(q[name]); len(chosen) > 0 {
			query.Set(name, strings.Join(chosen, ","))
		}
	}
	return query
}

func (c console) sagas(r *http.Request) (any, string, error) {
	q := filters(r)
	var list struct {
		Sagas []api.Saga
		Next  string
	}
	if id := strings.TrimSpace(q.Get("id")); id != "" {
		var found api.Saga
		if err := c.get(r, "/v1/sagas/"+url.PathEscape(id), &found); err != nil {
			return nil, "", err
		}
		list.Sagas = []api.Saga{found}
	} else if err := c.get(r, "/v1/sagas?"+apiQuery(q).Encode(), &list); err != nil {
		return nil, "", err
	}
	p := sagasPage{Sagas: list.Sagas, Statuses: order.Statuses(), Runtimes: runtimeStatuses, Query: q}
	link := filters(r)
	link.Del("cursor")
	p.First = "/console/sagas?" + link.Encode()
	if list.Next != "" {
		link.Set("cursor", list.Next)
		p.Next = "/console/sagas?" + link.Encode()
	}
	return p, "", nil
}

type sagaPage struct {
	api.Saga

	Timeline      timeline
	EventRows     []eventRow
	Events        int // in the history
	Input, Output string
	Actions       []button
	Commands      commands
}

func (c console) saga(r *http.Request) (any, string, error) {
	path := "/v1/sagas/" + url.PathEscape(chi.URLParam(r, "id"))
	var p sagaPage
	if err := c.get(r, path, &p.Saga); err != nil {
		return nil, "", err
	}
	var history struct{ Events []engine.Event }
	if err := c.get(r, path+"/history", &history); err != nil && !client.IsNotFound(err) {
		return nil, "", err
	}
	now := time.Now()
	p.Timeline, p.EventRows, p.Events = timelineOf(history.Events, now), eventRows(history.Events, now), len(history.Events)
	p.Input, p.Output = payloads(history.Events)
	p.Actions = buttonsOf(p.Saga)
	p.Commands = commandsOf(p.Saga, p.Actions, apiAddress(r))
	return p, path + "/events", nil
}

type stockPage struct {
	Stock []api.Level
	Next  string
	SKU   string
}

func (c console) stock(r *http.Request) (any, string, error) {
	q := r.URL.Query()
	p := stockPage{SKU: strings.TrimSpace(q.Get("sku"))}
	if p.SKU != "" {
		p.Stock = make([]api.Level, 1)
		err := c.get(r, "/v1/stock/"+url.PathEscape(p.SKU), &p.Stock[0])
		return p, "", err
	}
	query := url.Values{"limit": {"200"}}
	if cursor := q.Get("cursor"); cursor != "" {
		query.Set("cursor", cursor)
	}
	err := c.get(r, "/v1/stock?"+query.Encode(), &p)
	return p, "", err
}

type deadLettersPage struct {
	Queues   []api.Queue
	Queue    string               `json:"-"`
	Messages []deadletter.Message `json:"-"`
}

func (c console) deadLetters(r *http.Request) (any, string, error) {
	var p deadLettersPage
	if err := c.get(r, "/v1/dead-letters", &p); err != nil {
		return nil, "", err
	}
	p.Queue = r.URL.Query().Get("queue")
	if p.Queue == "" {
		return p, "", nil
	}
	var list struct{ Letters []deadletter.Message }
	err := c.get(r, "/v1/dead-letters/"+url.PathEscape(p.Queue)+"?limit=50", &list)
	p.Messages = list.Letters
	return p, "", err
}
