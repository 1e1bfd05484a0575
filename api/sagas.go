package api

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// IDInput names a saga. It is exported because huma reads embedded parameters of
// exported types only.
type IDInput struct {
	ID string `path:"id" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." doc:"The order's id." example:"o-1042"`
}

type readInput struct {
	IDInput
	Known
}

type listInput struct {
	Known

	Status   []string `query:"status" enum:"PENDING,RESERVED,AWAITING_APPROVAL,PAID,COMPLETED,REJECTED,DECLINED,CANCELLED,FAILED,NEEDS_ATTENTION" doc:"Only these, separated by commas." example:"FAILED"`
	Customer string   `query:"customer" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." doc:"Only this customer's." example:"c-7"`
	SKU      string   `query:"sku" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." doc:"Only orders for this. It reads every order that the others select, so say since when, too." example:"SKU-1"`
	Since    string   `query:"since" doc:"Accepted at or after: RFC 3339, or a duration back from now such as 15m." example:"15m"`
	Before   string   `query:"before" doc:"Accepted before: likewise." example:"5m"`
	Stuck    bool     `query:"stuck" doc:"Only those that need attention, are stalled, or have not moved for longer than what they are at may take, each with its step and last error."`
	Undoing  bool     `query:"undoing" doc:"Only those that are being undone, or need a person for that, each with its step and last error. A page may be short, or empty, and yet not be the last."`
	Runtime  []string `query:"runtimeStatus" enum:"PENDING,RUNNING,SUSPENDED,STALLED,COMPLETED,FAILED,TERMINATED,NONE" doc:"Only those whose saga has one of these in the workflow engine, separated by commas, each with its own and its step. NONE: the order has not ended, and the engine knows no saga of it: it has not begun, or is lost. Only the engine knows, of one at a time, so up to a thousand orders are looked at: a page may be short, or empty, and yet not be the last. COMPLETED, FAILED and TERMINATED are looked for among all orders that the others select, so say since when, too; the rest among those that have not ended." example:"SUSPENDED"`
	Cursor   string   `query:"cursor" maxLength:"512" doc:"The next of the page before."`
	Limit    int      `query:"limit" minimum:"1" maximum:"1000" default:"50"`
}

// List is one page of sagas.
type List struct {
	Sagas []Saga `json:"sagas" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Cursor of the next page; absent on the last."`
}

// History is all that has happened to a saga.
type History struct {
	Events []engine.Event `json:"events" nullable:"false"`
}

type sagaOutput struct{ Body Saga }

func (s *server) sagas(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "listSagas", Method: http.MethodGet, Path: "/v1/sagas", Tags: []string{"sagas"}, Summary: "List sagas, newest first",
		Description: "Pages stay stable while sagas arrive.", Errors: []int{http.StatusBadRequest, http.StatusUnprocessableEntity}, Responses: unchanged(),
	}, s.listSagas)
	huma.Register(h, huma.Operation{
		OperationID: "getSaga", Method: http.MethodGet, Path: "/v1/sagas/{id}", Tags: []string{"sagas"}, Summary: "Read one saga",
		Responses: unchanged(), Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, s.getSaga)
	huma.Register(h, huma.Operation{
		OperationID: "getHistory", Method: http.MethodGet, Path: "/v1/sagas/{id}/history", Tags: []string{"sagas"}, Summary: "Read a saga's history",
		Description: "Every durable event, oldest first.", Responses: unchanged(), Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, s.getHistory)
}

func (s *server) listSagas(ctx context.Context, in *listInput) (*tagged[List], error) {
	q := orderstore.Query{CustomerID: in.Customer, SKU: in.SKU, Limit: in.Limit}
	for _, st := range in.Status {
		q.Statuses = append(q.Statuses, order.Status(st))
	}
	var err error
	if q.Cursor, err = decodeCursor(in.Cursor); err != nil {
		return nil, badQuery("cursor", "is not the next of a page")
	}
	for name, at := range map[string]*time.Time{"since": &q.Since, "before": &q.Before} {
		said := map[string]string{"since": in.Since, "before": in.Before}[name]
		if said == "" {
			continue
		}
		if *at, err = parseTime(said, time.Now()); err != nil {
			return nil, badQuery(name, "must be RFC 3339 or a duration such as 15m")
		}
	}
	out := List{}
	if in.Stuck || in.Undoing || len(in.Runtime) > 0 {
		states, next, err := s.listByEngine(ctx, in, q)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		out.Sagas, out.Next = toSagas(states), encodeCursor(next)
		if in.Stuck || in.Undoing {
			err = s.addLastErrors(ctx, out.Sagas)
		}
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return answer(ctx, s, in.Known, out)
	}
	page, err := s.Orders.List(ctx, q)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	out.Sagas, out.Next = make([]Saga, len(page.Records)), encodeCursor(page.Next)
	for i, rec := range page.Records {
		out.Sagas[i] = toSaga(rec)
	}
	return answer(ctx, s, in.Known, out)
}

// listByEngine returns a page of what q selects and that the engine knows to be stuck,
// compensating, or of one of the runtime statuses.
func (s *server) listByEngine(ctx context.Context, in *listInput, q orderstore.Query) ([]sagaState, string, error) {
	matches := func(state sagaState) bool {
		return (!in.Undoing || isCompensating(state)) && (len(in.Runtime) == 0 || hasRuntime(in.Runtime, state))
	}
	if in.Stuck {
		states, next, err := s.stuck(ctx, q, time.Now())
		return slices.DeleteFunc(states, func(state sagaState) bool { return !matches(state) }), next, err
	}
	statuses := order.Statuses()
	if in.Undoing {
		statuses = compensatingStatuses()
		q.ExcludeShipping = true // an order that awaits the carrier, and is not being refunded, does not compensate
	}
	if len(in.Runtime) > 0 {
		statuses = slices.DeleteFunc(statuses, func(status order.Status) bool { return !canHaveRuntime(in.Runtime, status) })
	}
	return s.filter(ctx, q, countedUpTo, statuses, matches)
}

func badQuery(name, message string) error {
	return huma.Error400BadRequest("query parameter "+name+" "+message,
		&huma.ErrorDetail{Location: "query." + name, Message: message})
}

// cursorPrefix marks a cursor's form, so that a later form can be told apart.
const cursorPrefix = "1:"

func encodeCursor(s string) string {
	if s == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(cursorPrefix + s))
}

var errCursor = errors.New("not a cursor")

func decodeCursor(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	rest, ok := strings.CutPrefix(string(b), cursorPrefix)
	if err != nil || !ok || rest == "" || len(rest) > 128 || strings.ContainsFunc(rest, func(c rune) bool { return c < '!' || c > '~' }) {
		return "", errCursor
	}
	return rest, nil
}

// parseTime takes a time, or how long ago it was.
func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if y := at.UTC().Year(); err == nil && (y < 0 || y > 9999) { // as text, which is how it is compared, it would come first
		err = errors.New("out of range")
	}
	return at, err
}

func (s *server) getSaga(ctx context.Context, in *readInput) (*tagged[Saga], error) {
	one, err := s.saga(ctx, in.ID)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return answer(ctx, s, in.Known, one)
}

func (s *server) getHistory(ctx context.Context, in *readInput) (*tagged[History], error) {
	events, err := s.Sagas.History(ctx, in.ID)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return answer(ctx, s, in.Known, History{append([]engine.Event{}, events...)})
}
