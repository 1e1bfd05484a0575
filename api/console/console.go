// Package console is the web console: pages over the API, of which it is a
// client like any other, so that what it does is checked and noted in the same
// way. Pages are made here and work without a script; with one they follow the
// API's streams.
package console

import (
	"bytes"
	"embed"
	"errors"
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
	c := console{apiHandler, issuer}
	assets, err := fs.Sub(files, "assets")
	if err != nil {
		panic(err) // it is embedded
	}
	r := chi.NewRouter()
	foreign := http.NewCrossOriginProtection()
	foreign.SetDenyHandler(apiHandler) // it refuses it as well, and notes that
	r.Use(secured, foreign.Handler, middleware.GetHead)
	r.Get("/", c.page("overview", c.overview))
	r.Get("/console/sagas", c.page("sagas", c.sagas))
	r.Post("/console/sagas", c.bulk)
	r.Post("/console/customers/{id}/forget", c.forget)
	r.Get("/console/sagas/{id}", c.page("saga", c.saga))
	r.Post("/console/sagas/{id}/{action}", c.act)
	r.Get("/console/stock", c.page("stock", c.stock))
	r.Post("/console/stock", c.setStock)
	r.Get("/console/dead-letters", c.page("letters", c.letters))
	r.Post("/console/dead-letters/{queue}/redrive", c.redriveAll)
	r.Post("/console/dead-letters/{queue}/{id}", c.redrive)
	r.Post("/console/dead-letters/{queue}/{id}/delete", c.deleteLetter)
	if c.signsIn() {
		r.Get(auth.SignInPath, c.signing(issuer.SignIn))
		r.Get(auth.SignedInPath, c.signing(issuer.SignedIn))
		r.Post(auth.SignOutPath, c.signOut)
	}
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		view{Page: "problem", Data: "There is no page at " + r.URL.Path + "."}.write(w, "problem", http.StatusNotFound)
	})
	r.Get("/console", toOverview)
	r.Get("/console/", toOverview)
	r.Handle("/console/assets/*", http.StripPrefix("/console/assets/", cached(http.FileServerFS(assets))))
	return r
}

// Serves reports whether a path is one of the console's: / and those below /console. All
// others are the API's.
func Serves(path string) bool {
	return path == "/" || path == "/console" || strings.HasPrefix(path, "/console/")
}

func toOverview(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }

type console struct {
	api    http.Handler
	issuer *auth.Issuer
}

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		r.Body = http.MaxBytesReader(w, r.Body, 7*order.MaxEventBytes) // a letter as it was and as it was mended, and escaped in a form
		next.ServeHTTP(w, r)
	})
}

func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=300")
		next.ServeHTTP(w, r)
	})
}

// view is what every page gets.
type view struct {
	Page   string
	Stream string // of events; "" for a page that does not change by itself
	Said   string // what came of an action
	Failed bool
	Who    api.Who
	// SignIn is where to do that, if it can be done here.
	SignIn   string
	SignsOut bool
	Data     any
}

// Acts reports whether whoever looks may also act.
func (v view) Acts() bool { return v.Who.Open || slices.Contains(v.Who.Roles, auth.Operator) }

var pages = func() map[string]*template.Template {
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(files, "pages/layout.html"))
	all := map[string]*template.Template{}
	for _, name := range []string{"overview", "sagas", "saga", "stock", "letters", "problem"} {
		all[name] = template.Must(template.Must(layout.Clone()).ParseFS(files, "pages/"+name+".html"))
	}
	return all
}()

var functions = template.FuncMap{
	"money":   money.Format,
	"when":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") },
	"clock":   func(t time.Time) string { return t.UTC().Format("15:04:05") },
	"seconds": func(s float64) string { return short(time.Duration(s * float64(time.Second))) },
	"took":    took,
	"lower":   func(s any) string { return strings.ToLower(strings.ReplaceAll(toString(s), "_", "-")) },
}

// took is how long an order took, or how old it is that has not ended.
func took(s api.Saga) string {
	if s.Status.Terminal() {
		return short(s.UpdatedAt.Sub(s.CreatedAt))
	}
	return short(time.Since(s.CreatedAt)) + " so far"
}

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

// page answers with a page of what get finds.
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
		v.Said, v.Failed = c.said(w, r)
		v.write(w, name, http.StatusOK)
	}
}

// problem says what went wrong, or asks to sign in if that is what is missing.
func (c console) problem(w http.ResponseWriter, r *http.Request, err error) {
	status, v := statusOf(err), view{Page: "problem", Data: err.Error()}
	v.Said, v.Failed = c.said(w, r)
	if c.signsIn() && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
		v.SignIn = auth.SignInPath + "?" + url.Values{"to": {r.URL.RequestURI()}}.Encode()
		// Nothing here can follow to the issuer: not a page that fetches itself,
		// and not a form, whose redirects the policy keeps on this site
		// (form-action), the one after an action too. There it takes a link.
		here := r.Header.Get("Sec-Fetch-Mode") == "cors" || r.Header.Get("Sec-Fetch-Site") == "same-origin"
		if status == http.StatusUnauthorized && !here {
			http.Redirect(w, r, v.SignIn, http.StatusFound)
			return
		}
	}
	v.write(w, "problem", status)
}

func (v view) write(w http.ResponseWriter, name string, status int) {
	var b bytes.Buffer
	if err := pages[name].Execute(&b, v); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w) // the client may be gone
}

func (c console) signsIn() bool { return c.issuer != nil && c.issuer.SignsIn() }

// signing is a step of the sign-in.
func (c console) signing(step func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
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
	view{Page: "problem", Data: "You have signed out here; the issuer may remember you.", SignIn: auth.SignInPath}.write(w, "problem", http.StatusOK)
}

func (c console) overview(r *http.Request) (any, string, error) {
	var o api.Overview
	err := c.get(r, "/v1/overview", &o)
	return overviewOf(o), "/v1/overview/events", err
}

// runtimes are what the API can be asked for as runtimeStatus.
var runtimes = []string{"PENDING", "RUNNING", "SUSPENDED", "STALLED", "COMPLETED", "FAILED", "TERMINATED", "NONE"}

type sagasPage struct {
	Sagas    []api.Saga
	Next     string // address of the next page, "" if there is none
	First    string // and of the first
	Statuses []order.Status
	Runtimes []string
	Query    url.Values
}

func (p sagasPage) Has(name string, s any) bool { return slices.Contains(p.Query[name], toString(s)) }

func (c console) sagas(r *http.Request) (any, string, error) {
	q := r.URL.Query()
	ask := url.Values{"limit": {"50"}}
	for _, name := range []string{"customer", "sku", "since", "before", "stuck", "undoing", "cursor"} {
		if v := strings.TrimSpace(q.Get(name)); v != "" {
			ask.Set(name, v)
		}
	}
	for _, name := range []string{"status", "runtimeStatus"} {
		if st := slices.DeleteFunc(slices.Clone(q[name]), func(s string) bool { return s == "" }); len(st) > 0 {
			ask.Set(name, strings.Join(st, ","))
		}
	}
	var list struct {
		Sagas []api.Saga
		Next  string
	}
	if id := strings.TrimSpace(q.Get("id")); id != "" {
		var one api.Saga
		if err := c.get(r, "/v1/sagas/"+url.PathEscape(id), &one); err != nil {
			return nil, "", err
		}
		list.Sagas = []api.Saga{one}
	} else if err := c.get(r, "/v1/sagas?"+ask.Encode(), &list); err != nil {
		return nil, "", err
	}
	p := sagasPage{Sagas: list.Sagas, Statuses: order.Statuses(), Runtimes: runtimes, Query: q}
	other := r.URL.Query()
	other.Del("cursor")
	p.First = "/console/sagas?" + other.Encode()
	if list.Next != "" {
		other.Set("cursor", list.Next)
		p.Next = "/console/sagas?" + other.Encode()
	}
	return p, "", nil
}

type sagaPage struct {
	api.Saga

	Timeline      timeline
	Happenings    []happening
	Events        int // in the history
	Input, Output string
	Actions       []button
	Looks, Acts   []command // this program's
	Dapr          []command
}

func (c console) saga(r *http.Request) (any, string, error) {
	at := "/v1/sagas/" + url.PathEscape(chi.URLParam(r, "id"))
	var p sagaPage
	if err := c.get(r, at, &p.Saga); err != nil {
		return nil, "", err
	}
	var history struct{ Events []engine.Event }
	if err := c.get(r, at+"/history", &history); err != nil && !client.IsNotFound(err) {
		return nil, "", err
	}
	now := time.Now()
	p.Timeline, p.Happenings, p.Events = timelineOf(history.Events, now), happeningsOf(history.Events, now), len(history.Events)
	p.Input, p.Output = payloads(history.Events)
	p.Actions = buttonsOf(p.Saga)
	p.Looks, p.Acts, p.Dapr = commandsOf(p.Saga, p.Actions, addressOf(r))
	return p, at + "/events", nil
}

type stockPage struct {
	Stock []api.Level
	Next  string
	SKU   string
}

func (c console) stock(r *http.Request) (any, string, error) {
	q := r.URL.Query()
	if p := (stockPage{SKU: strings.TrimSpace(q.Get("sku"))}); p.SKU != "" {
		p.Stock = make([]api.Level, 1)
		err := c.get(r, "/v1/stock/"+url.PathEscape(p.SKU), &p.Stock[0])
		return p, "", err
	}
	ask := url.Values{"limit": {"200"}}
	if cursor := q.Get("cursor"); cursor != "" {
		ask.Set("cursor", cursor)
	}
	var p stockPage
	err := c.get(r, "/v1/stock?"+ask.Encode(), &p)
	return p, "", err
}

type lettersPage struct {
	Queues  []api.Queue
	Queue   string              `json:"-"`
	Letters []deadletter.Letter `json:"-"`
}

func (c console) letters(r *http.Request) (any, string, error) {
	var p lettersPage
	if err := c.get(r, "/v1/dead-letters", &p); err != nil {
		return nil, "", err
	}
	p.Queue = r.URL.Query().Get("queue")
	if p.Queue == "" {
		return p, "", nil
	}
	var list struct{ Letters []deadletter.Letter }
	err := c.get(r, "/v1/dead-letters/"+url.PathEscape(p.Queue)+"?limit=50", &list)
	p.Letters = list.Letters
	return p, "", err
}
