package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// sagaCmd reads sagas and acts on them through the API.
type sagaCmd struct {
	List      sagaListCmd    `cmd:"" help:"List sagas, newest first."`
	Show      sagaShowCmd    `cmd:"" help:"Show a saga and its order."`
	History   sagaHistoryCmd `cmd:"" help:"Show the history of a saga, event by event."`
	Approve   sagaActCmd     `cmd:"" help:"Approve an order that waits for approval."`
	Reject    sagaActCmd     `cmd:"" help:"Reject an order that waits for approval."`
	Cancel    sagaCancelCmd  `cmd:"" help:"Cancel an order. Possible until its shipment is requested."`
	Resolve   sagaResolveCmd `cmd:"" help:"${resolve_help}"`
	Retry     sagaRetryCmd   `cmd:"" hidden:"" help:"Deprecated: use saga resolve."`
	Suspend   sagaActCmd     `cmd:"" help:"Pause a saga."`
	Resume    sagaActCmd     `cmd:"" help:"Continue a paused saga."`
	Terminate sagaActCmd     `cmd:"" help:"${terminate_help}"`
	Purge     sagaPurgeCmd   `cmd:"" help:"Delete the histories of ended sagas. The orders remain."`
}

// filter is the value of a flag that selects orders. An empty value is an error:
// a script's variable that is not set would otherwise select every order.
type filter string

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *filter) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return errors.New("must not be empty; omit the flag to select all")
	}
	*f = filter(b)
	return nil
}

// joinFilters separates filters by commas.
func joinFilters(all []filter) string {
	texts := make([]string, len(all))
	for i, f := range all {
		texts[i] = string(f)
	}
	return strings.Join(texts, ",")
}

type sagaListCmd struct {
	apiFlags

	Status   []filter `sep:"none" placeholder:"STATUS" help:"${status_help}"`
	Customer filter   `placeholder:"ID" help:"Only orders of this customer."`
	SKU      filter   `name:"sku" placeholder:"SKU" help:"Only orders for this SKU."`
	Stuck    bool     `help:"Only sagas that need attention or have made no progress within their deadline."`
	Undoing  bool     `help:"Only sagas that are compensating, or that need attention while they compensate."`
	Runtime  []filter `sep:"none" name:"runtime-status" placeholder:"STATUS" help:"${runtime_status_help}"`
	Since    filter   `placeholder:"TIME" help:"Only orders accepted at or after this time: RFC 3339, or a duration before now such as 15m."`
	Before   filter   `placeholder:"TIME" help:"Only orders accepted before this time: RFC 3339, or a duration before now such as 15m."`
	Limit    int      `default:"50" help:"Maximum number of sagas."`
}

// query returns the API's query for the flags.
func (c sagaListCmd) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("status", joinFilters(c.Status))
	set("runtimeStatus", joinFilters(c.Runtime))
	set("customer", string(c.Customer))
	set("sku", string(c.SKU))
	set("since", string(c.Since))
	set("before", string(c.Before))
	if c.Stuck {
		q.Set("stuck", "true")
	}
	if c.Undoing {
		q.Set("undoing", "true")
	}
	return q
}

// list reads pages until it has Limit sagas or there are no more.
func (c sagaListCmd) list(e env) ([]api.Saga, error) {
	const maxPage = 1000 // the API's limit
	list := []api.Saga{}
	q := c.query()
	for len(list) < c.Limit {
		q.Set("limit", strconv.Itoa(min(c.Limit-len(list), maxPage)))
		var page struct {
			Sagas []api.Saga
			Next  string
		}
		if err := c.call(e, http.MethodGet, "/v1/sagas?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		list = append(list, page.Sagas...)
		if page.Next == "" {
			break
		}
		q.Set("cursor", page.Next)
	}
	return list, nil
}

func (c sagaListCmd) Run(e env) error {
	list, err := c.list(e)
	if err != nil {
		return err
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

// sagaArg names the saga that a command is about.
type sagaArg struct {
	apiFlags

	ID string `arg:"" help:"Order id."`
}

func (a sagaArg) path() string { return "/v1/sagas/" + url.PathEscape(a.ID) }

type sagaShowCmd struct{ sagaArg }

func (c sagaShowCmd) Run(e env) error {
	var s api.Saga
	if err := c.call(e, http.MethodGet, c.path(), nil, &s); err != nil {
		return err
	}
	return c.show(e, s)
}

func (a sagaArg) show(e env, s api.Saga) error {
	rows := [][]string{
		{"order", s.OrderID},
		{"status", string(s.Status)},
		{"reason", s.Reason},
		{"step", s.Step},
		{"saga", string(s.Runtime)},
		{"customer", s.CustomerID},
		{"total", money.Format(s.Total, s.Currency)},
		{"charge", s.ChargeID},
		{"refund", s.RefundID},
		{"shipment", s.ShipmentID},
		{"tracking", strings.Join(s.Parcels(), ", ")},
		{"accepted", s.CreatedAt.Format(time.RFC3339Nano)},
		{"changed", s.UpdatedAt.Format(time.RFC3339Nano)},
		{"trace", s.TraceID},
	}
	for _, l := range s.Lines {
		rows = append(rows, []string{"line", fmt.Sprintf("%d × %s, %s each", l.Quantity, l.SKU, money.Format(l.UnitPrice, s.Currency))})
	}
	for _, extra := range []struct {
		name  string
		minor int64
	}{
		{name: "shipping", minor: s.Shipping},
		{name: "tax", minor: s.Tax},
		{name: "discount", minor: s.Discount},
	} {
		if extra.minor != 0 {
			rows = append(rows, []string{extra.name, money.Format(extra.minor, s.Currency)})
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
	return a.write(e, s, "FIELD VALUE", filled)
}

type sagaHistoryCmd struct{ sagaArg }

func (c sagaHistoryCmd) Run(e env) error {
	var h struct {
		Events []engine.Event `json:"events"`
	}
	if err := c.call(e, http.MethodGet, c.path()+"/history", nil, &h); err != nil {
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

// commandName is the last word of a command, for commands that share a type.
type commandName string

type sagaActCmd struct {
	sagaArg
	noteFlags
}

// Run posts to the action that has the command's name.
func (c sagaActCmd) Run(e env, name commandName) error {
	var s api.Saga
	if err := c.call(e, http.MethodPost, c.path()+"/"+string(name), c.body(), &s); err != nil {
		return err
	}
	return c.show(e, s)
}

type sagaCancelCmd struct {
	sagaArg
	noteFlags

	For string `default:"shop" enum:"customer,shop" help:"Who cancels, as the customer is notified: customer or shop."`
}

func (c sagaCancelCmd) Run(e env) error {
	in := c.body()
	in["for"] = c.For
	var s api.Saga
	if err := c.call(e, http.MethodPost, c.path()+"/cancel", in, &s); err != nil {
		return err
	}
	return c.show(e, s)
}

// sagaResolveCmd decides about a saga that needs attention.
type sagaResolveCmd struct {
	sagaArg
	noteFlags

	Action string `default:"retry" enum:"retry,skip,resolve,compensate" help:"${action_help}"`
}

func (c sagaResolveCmd) Run(e env) error {
	in := api.ResolveRequest{ActionNote: api.ActionNote{By: c.body()["by"], Note: c.Note}, Action: saga.Action(c.Action)}
	var s api.Saga
	if err := c.call(e, http.MethodPost, c.path()+"/resolve", in, &s); err != nil {
		return err
	}
	return c.show(e, s)
}

// sagaRetryCmd is the old name of sagaResolveCmd.
type sagaRetryCmd struct{ sagaResolveCmd }

func (c sagaRetryCmd) Run(e env) error {
	e.logger.Warn().Msg("saga retry is deprecated: use saga resolve")
	return c.sagaResolveCmd.Run(e)
}

type sagaPurgeCmd struct {
	apiFlags
	noteFlags

	IDs []string `arg:"" name:"id" help:"Order ids."`
}

// Run purges every saga that it can and returns why the others were rejected.
func (c sagaPurgeCmd) Run(e env) error {
	var rejected []string
	for _, id := range c.IDs {
		err := c.call(e, http.MethodDelete, sagaArg{ID: id}.path()+"?"+c.query(), nil, nil)
		if err != nil && len(c.IDs) == 1 {
			return err
		}
		if err != nil {
			rejected = append(rejected, id+": "+err.Error())
		}
	}
	if len(rejected) > 0 {
		return fmt.Errorf("purged %d sagas, %d rejected: %s", len(c.IDs)-len(rejected), len(rejected), strings.Join(rejected, "; "))
	}
	return nil
}
