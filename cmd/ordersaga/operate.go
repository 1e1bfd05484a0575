package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// remote is what commands need that ask a running system.
type remote struct {
	API    string        `default:"http://127.0.0.1:8080" help:"Where the API is."`
	Token  string        `name:"api-token" help:"Bearer token for it."`
	Wait   time.Duration `name:"api-timeout" default:"30s" help:"How long an answer may take."`
	Output string        `short:"o" default:"table" enum:"table,json" help:"How to write the answer: ${enum}."`
}

func (r remote) client() client.Client {
	return client.Client{Base: r.API, HTTP: &http.Client{Timeout: r.Wait}, Header: r.header()}
}

func (r remote) call(e env, method, path string, in, out any) error {
	return r.client().Call(e.ctx, method, path, in, out)
}

func (r remote) header() http.Header {
	header := http.Header{}
	if r.Token != "" {
		header.Set("Authorization", "Bearer "+r.Token)
	}
	return header
}

// write writes v as JSON, or as rows under the columns' names.
func (r remote) write(e env, v any, columns string, rows [][]string) error {
	if r.Output == "json" {
		return printJSON(e.out, v)
	}
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.ReplaceAll(columns, " ", "\t"))
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush() // it has the first error
}

type sagaCmd struct {
	List      sagaListCmd    `cmd:"" help:"List sagas, newest first."`
	Show      sagaShowCmd    `cmd:"" help:"Show one saga with its order."`
	History   sagaHistoryCmd `cmd:"" help:"Show every durable event of a saga."`
	Approve   sagaActCmd     `cmd:"" help:"Approve an order above the approval limit."`
	Reject    sagaActCmd     `cmd:"" help:"Refuse an order above the approval limit."`
	Cancel    sagaCancelCmd  `cmd:"" help:"Cancel an order, as long as its shipment was not requested."`
	Retry     sagaRetryCmd   `cmd:"" help:"Decide about a saga that needs attention."`
	Suspend   sagaActCmd     `cmd:"" help:"Hold a saga up."`
	Resume    sagaActCmd     `cmd:"" help:"Let a suspended saga go on."`
	Terminate sagaActCmd     `cmd:"" help:"End a saga where it stands; the reconciler then undoes its order, or asks a person once its shipment was requested."`
	Purge     sagaPurgeCmd   `cmd:"" help:"Forget the history of sagas that have ended."`
}

// filter is a selection that was asked for. An empty one, such as that of a
// script's variable that is not set, would select everything.
type filter string

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *filter) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return errors.New("is empty; leave the flag out to select all")
	}
	*f = filter(b)
	return nil
}

// joined separates filters by commas.
func joined(all []filter) string {
	var b strings.Builder
	for i, f := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(f))
	}
	return b.String()
}

type sagaListCmd struct {
	remote

	Status   []filter `sep:"none" help:"Only these, separated by commas, such as NEEDS_ATTENTION."`
	Customer filter   `help:"Only this customer's."`
	SKU      filter   `name:"sku" help:"Only orders for this SKU."`
	Stuck    bool     `help:"Only those that need attention or have not moved for longer than they may."`
	Undoing  bool     `help:"Only those that are being undone, or need a person for that."`
	Runtime  []filter `sep:"none" name:"runtime-status" help:"Only those whose saga has one of these in the workflow engine, separated by commas, such as SUSPENDED or TERMINATED; NONE: orders that have not ended and whose saga it does not know. COMPLETED, FAILED and TERMINATED are looked for among all orders that the others select, so say since when, too."`
	Since    filter   `help:"Accepted at or after: RFC 3339, or a duration back from now such as 15m."`
	Before   filter   `help:"Accepted before: likewise."`
	Limit    int      `default:"50" help:"At most so many."`
}

func (c sagaListCmd) Run(e env) error {
	list := []api.Saga{}
	yes := map[bool]string{true: "true"}
	for cursor := ""; len(list) < c.Limit; {
		q := url.Values{"limit": {strconv.Itoa(min(c.Limit-len(list), 1000))}}
		for name, v := range map[string]string{"status": joined(c.Status), "runtimeStatus": joined(c.Runtime), "customer": string(c.Customer), "sku": string(c.SKU), "since": string(c.Since), "before": string(c.Before), "cursor": cursor, "stuck": yes[c.Stuck], "undoing": yes[c.Undoing]} {
			if v != "" {
				q.Set(name, v)
			}
		}
		var page struct {
			Sagas []api.Saga
			Next  string
		}
		if err := c.call(e, http.MethodGet, "/v1/sagas?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		list = append(list, page.Sagas...)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	columns := "ORDER STATUS CUSTOMER ACCEPTED TOOK REASON"
	if len(c.Runtime) > 0 {
		columns = "ORDER STATUS SAGA CUSTOMER ACCEPTED TOOK REASON"
	}
	rows := make([][]string, len(list))
	for i, s := range list {
		took := s.UpdatedAt.Sub(s.CreatedAt).Round(time.Millisecond).String()
		if !s.Status.Terminal() {
			took = time.Since(s.CreatedAt).Round(time.Second).String() + " so far"
		}
		rows[i] = []string{s.OrderID, string(s.Status), s.CustomerID, s.CreatedAt.Format(time.RFC3339), took, s.Reason}
		if len(c.Runtime) > 0 {
			rows[i] = slices.Insert(rows[i], 2, cmp.Or(string(s.Runtime), "NONE"))
		}
	}
	return c.write(e, list, columns, rows)
}

// one names a saga.
type one struct {
	remote

	ID string `arg:"" help:"The order's id."`
}

func (o one) at() string { return "/v1/sagas/" + url.PathEscape(o.ID) }

type sagaShowCmd struct{ one }

func (c sagaShowCmd) Run(e env) error {
	var s api.Saga
	if err := c.call(e, http.MethodGet, c.at(), nil, &s); err != nil {
		return err
	}
	return c.show(e, s)
}

func (o one) show(e env, s api.Saga) error {
	rows := [][]string{
		{"order", s.OrderID}, {"status", string(s.Status)}, {"reason", s.Reason}, {"step", s.Step}, {"saga", string(s.Runtime)},
		{"customer", s.CustomerID}, {"total", money.Format(s.Total, s.Currency)},
		{"charge", s.ChargeID}, {"refund", s.RefundID}, {"shipment", s.ShipmentID}, {"tracking", strings.Join(s.Parcels(), ", ")},
		{"accepted", s.CreatedAt.Format(time.RFC3339Nano)}, {"changed", s.UpdatedAt.Format(time.RFC3339Nano)}, {"trace", s.TraceID},
	}
	for _, l := range s.Lines {
		rows = append(rows, []string{"line", fmt.Sprintf("%d × %s, %s each", l.Quantity, l.SKU, money.Format(l.UnitPrice, s.Currency))})
	}
	for _, x := range []struct {
		what  string
		minor int64
	}{{"shipping", s.Shipping}, {"tax", s.Tax}, {"discount", s.Discount}} {
		if x.minor != 0 {
			rows = append(rows, []string{x.what, money.Format(x.minor, s.Currency)})
		}
	}
	if s.ShipTo != nil {
		rows = append(rows, []string{"ship to", s.ShipTo.String()})
	}
	for _, n := range s.Notes {
		rows = append(rows, []string{"note", strings.TrimSpace(n.At + " " + n.Actor + ": " + n.Action + " " + n.Text)})
	}
	var filled [][]string
	for _, r := range rows {
		if r[1] != "" {
			filled = append(filled, r)
		}
	}
	return o.write(e, s, "FIELD VALUE", filled)
}

type sagaHistoryCmd struct{ one }

func (c sagaHistoryCmd) Run(e env) error {
	var h struct {
		Events []engine.Event `json:"events"`
	}
	if err := c.call(e, http.MethodGet, c.at()+"/history", nil, &h); err != nil {
		return err
	}
	rows := make([][]string, len(h.Events))
	for i, ev := range h.Events {
		what := ev.Error
		if what == "" && ev.Type != "TaskScheduled" {
			what = string(ev.Data)
		}
		rows[i] = []string{ev.At.Format(time.RFC3339Nano), ev.Type, ev.Name, what}
	}
	return c.write(e, h.Events, "AT EVENT NAME WHAT", rows)
}

// said is who acts and why.
type said struct {
	By   string `help:"Who acts; the login name if empty."`
	Note string `help:"Why. Both are kept with the order, or for a dead letter in the audit log."`
}

func (s said) body() map[string]string {
	if s.By == "" {
		s.By = os.Getenv("USER")
	}
	return map[string]string{"by": s.By, "note": s.Note}
}

// query is body for a DELETE, which has none.
func (s said) query() string {
	q := url.Values{}
	for name, v := range s.body() {
		if v != "" {
			q.Set(name, v)
		}
	}
	return q.Encode()
}

type sagaActCmd struct {
	one
	said
}

// Run does what the command is called.
func (c sagaActCmd) Run(e env, name commandName) error {
	var s api.Saga
	if err := c.call(e, http.MethodPost, c.at()+"/"+string(name), c.body(), &s); err != nil {
		return err
	}
	return c.show(e, s)
}

type sagaCancelCmd struct {
	one
	said

	For string `default:"shop" enum:"customer,shop" help:"On whose behalf, which is what the customer is told: customer or shop."`
}

func (c sagaCancelCmd) Run(e env) error {
	in := c.body()
	in["for"] = c.For
	var s api.Saga
	if err := c.call(e, http.MethodPost, c.at()+"/cancel", in, &s); err != nil {
		return err
	}
	return c.show(e, s)
}

type sagaRetryCmd struct {
	one
	said

	Action string `default:"retry" enum:"retry,skip,resolve,compensate" help:"retry: try the stuck step again. skip: leave it out. resolve: it was done by hand; either completes the order if the step was the last. compensate: give up and undo."`
}

func (c sagaRetryCmd) Run(e env) error {
	in := api.ResolveRequest{Said: api.Said{By: c.body()["by"], Note: c.Note}, Action: saga.Action(c.Action)}
	var s api.Saga
	if err := c.call(e, http.MethodPost, c.at()+"/retry", in, &s); err != nil {
		return err
	}
	return c.show(e, s)
}

type sagaPurgeCmd struct {
	remote
	said

	IDs []string `arg:"" name:"id" help:"The orders' ids."`
}

// Run purges all that it can, and says why it cannot purge the others.
func (c sagaPurgeCmd) Run(e env) error {
	var refused []string
	for _, id := range c.IDs {
		err := c.call(e, http.MethodDelete, one{ID: id}.at()+"?"+c.query(), nil, nil)
		if err != nil && len(c.IDs) == 1 {
			return err
		}
		if err != nil {
			refused = append(refused, id+": "+err.Error())
		}
	}
	if len(refused) > 0 {
		return fmt.Errorf("%d purged, %d refused: %s", len(c.IDs)-len(refused), len(refused), strings.Join(refused, "; "))
	}
	return nil
}

type stockCmd struct {
	List stockListCmd `cmd:"" help:"List the stock ledger."`
	Get  stockGetCmd  `cmd:"" help:"Show the ledger of one SKU."`
	Set  stockSetCmd  `cmd:"" help:"Record a stocktake: how many pieces are on hand, with those that orders hold."`
}

func (r remote) levels(e env, v any, levels ...api.Level) error {
	rows := make([][]string, len(levels))
	for i, l := range levels {
		rows[i] = []string{l.SKU}
		for _, n := range []int64{l.Received, l.Available, l.Reserved, l.Sold} {
			rows[i] = append(rows[i], strconv.FormatInt(n, 10))
		}
	}
	return r.write(e, v, "SKU RECEIVED AVAILABLE RESERVED SOLD", rows)
}

type stockListCmd struct{ remote }

func (c stockListCmd) Run(e env) error {
	all := []api.Level{}
	for cursor := ""; ; {
		var page struct {
			Stock []api.Level
			Next  string
		}
		q := url.Values{"limit": {"1000"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		if err := c.call(e, http.MethodGet, "/v1/stock?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		all = append(all, page.Stock...)
		if cursor = page.Next; cursor == "" {
			return c.levels(e, all, all...)
		}
	}
}

type stockGetCmd struct {
	remote

	SKU string `arg:"" help:"Which."`
}

func (c stockGetCmd) Run(e env) error {
	var l api.Level
	if err := c.call(e, http.MethodGet, c.at(), nil, &l); err != nil {
		return err
	}
	return c.levels(e, l, l)
}

func (c stockGetCmd) at() string { return "/v1/stock/" + url.PathEscape(c.SKU) }

type stockSetCmd struct {
	stockGetCmd

	OnHand  int64   `arg:"" help:"Pieces that were counted on the shelf, with those that orders hold."`
	Version *string `name:"if-version" help:"Version of the level that was counted, as stock get -o json shows it, or none for a new SKU; without it the level is read just before."`
}

// noLevel is the version of a SKU that has no level yet.
const noLevel = "none"

// Run sends the count once more, against the same version, if no answer comes:
// a count that was recorded is not recorded twice.
func (c stockSetCmd) Run(e env) error {
	var against string
	switch {
	case c.Version == nil:
		var l api.Level
		err := c.call(e, http.MethodGet, c.at(), nil, &l)
		if err != nil && !client.IsNotFound(err) {
			return err
		}
		against = cmp.Or(l.Version, noLevel)
	case *c.Version == "": // a variable that is not set, say
		return errors.New("--if-version is empty: give the version that was counted, or " + noLevel + " for a new SKU, or leave the flag out")
	default:
		against = *c.Version
	}
	version := against
	if version == noLevel {
		version = ""
	}
	on := c.client().On(version)
	var l api.Level
	var err error
	for pause := range 3 {
		select {
		case <-e.ctx.Done():
			return e.ctx.Err()
		case <-time.After(time.Duration(pause) * time.Second):
		}
		err = on.Call(e.ctx, http.MethodPut, c.at(), map[string]int64{"onHand": c.OnHand}, &l)
		if err == nil {
			return c.levels(e, l, l)
		}
		if refused, ok := errors.AsType[*client.Problem](err); ok && refused.Status < http.StatusInternalServerError {
			return err
		}
	}
	return fmt.Errorf("%w; whether the count was recorded is not known: repeat it with --if-version %s, which does not record it twice", err, against)
}

// commandName is the last word of the command, for those that share a type.
type commandName string

type healthCmd struct {
	API  string `default:"http://127.0.0.1:8080" help:"Where the API is."`
	Path string `default:"/readyz" help:"What to ask; of payment and carrier it is /healthz, of local-aws /_ordersaga/health."`
	Any  bool   `help:"Ask the one of this program's servers that listens at its usual port; for an image that may be any of them."`
}

// usual is where servers listen if not told otherwise, and what to ask them.
var usual = []healthCmd{
	{API: "http://127.0.0.1:8080", Path: "/readyz"},
	{API: "http://127.0.0.1:8090", Path: "/healthz"}, {API: "http://127.0.0.1:8091", Path: "/healthz"},
	{API: "http://127.0.0.1:4566", Path: "/_ordersaga/health"},
}

func (c healthCmd) Run(e env) error {
	if c.Any {
		return healthOfFirst(e, usual)
	}
	return c.ask(e)
}

// healthOfFirst asks the first that listens.
func healthOfFirst(e env, servers []healthCmd) (err error) {
	for _, s := range servers {
		if err = s.ask(e); !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
	return err
}

func (c healthCmd) ask(e env) error {
	return remote{API: c.API, Wait: 10 * time.Second}.call(e, http.MethodGet, c.Path, nil, nil)
}
