package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// IDInput is the path parameter of an order. It is exported because huma reads embedded
// parameters of exported types only.
type IDInput struct {
	ID string `path:"id" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." doc:"Id of the order and of its saga." example:"o-1042"`
}

type readInput struct {
	IDInput
	Known
}

type listInput struct {
	Known

	Status   []string `query:"status" enum:"PENDING,RESERVED,AWAITING_APPROVAL,PAID,COMPLETED,REJECTED,DECLINED,CANCELLED,FAILED,NEEDS_ATTENTION" doc:"Only orders with one of these statuses, separated by commas." example:"FAILED"`
	Customer string   `query:"customer" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." doc:"Only orders of this customer." example:"c-7"`
	SKU      string   `query:"sku" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." doc:"Only orders with this SKU. It reads every order that the other parameters select, so combine it with since." example:"SKU-1"`
	Since    string   `query:"since" doc:"Accepted at or after: RFC 3339, or a duration back from now such as 15m." example:"15m"`
	Before   string   `query:"before" doc:"Accepted before: RFC 3339, or a duration back from now such as 5m." example:"5m"`
	Stuck    bool     `query:"stuck" doc:"Only sagas that need an operator, are stalled, or have made no progress within the time limit of their step. Each with its step and last error."`
	Undoing  bool     `query:"undoing" doc:"Only sagas that compensate, or need an operator to do so. Each with its step and last error. A page can be short or empty and not the last."`
	Runtime  []string `query:"runtimeStatus" enum:"PENDING,RUNNING,SUSPENDED,STALLED,COMPLETED,FAILED,TERMINATED,NONE" doc:"Only sagas with one of these statuses in the workflow engine, separated by commas. Each with its status there and its step. NONE: the order has not ended and the engine has no saga of it, because it has not started or is lost. A request reads up to a thousand orders, so a page can be short or empty and not the last. For COMPLETED, FAILED and TERMINATED it reads all orders that the other parameters select, so combine them with since; otherwise only those that have not ended." example:"SUSPENDED"`
	Cursor   string   `query:"cursor" maxLength:"512" doc:"The next of the previous page."`
	Limit    int      `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Highest number of entries in the response."`
}

// List is a page of sagas.
type List struct {
	Sagas []Saga `json:"sagas" nullable:"false" doc:"Sagas of the page, newest first."`
	Next  string `json:"next,omitempty" doc:"Cursor of the next page; absent on the last."`
}

// History is the durable history of a saga.
type History struct {
	Events []engine.Event `json:"events" nullable:"false" doc:"Durable events, oldest first."`
}

type sagaOutput struct{ Body Saga }

func (s *server) sagas(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "listSagas", Method: http.MethodGet, Path: "/v1/sagas", Tags: []string{"sagas"},
		Summary: "List sagas, newest first", Description: "Pages stay stable while orders arrive.",
		Responses: notModified(), Errors: []int{http.StatusBadRequest, http.StatusUnprocessableEntity},
	}, s.listSagas)
	huma.Register(h, huma.Operation{
		OperationID: "getSaga", Method: http.MethodGet, Path: "/v1/sagas/{id}", Tags: []string{"sagas"}, Summary: "Read one saga",
		Responses: notModified(), Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, s.getSaga)
	huma.Register(h, huma.Operation{
		OperationID: "getHistory", Method: http.MethodGet, Path: "/v1/sagas/{id}/history", Tags: []string{"sagas"},
		Summary: "Read a saga's history", Description: "All durable events, oldest first.",
		Responses: notModified(), Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, s.getHistory)
}

// query returns what the request selects in the orders table. Its error is a problem
// document.
func (in *listInput) query(now time.Time) (orderstore.Query, error) {
	q := orderstore.Query{CustomerID: in.Customer, SKU: in.SKU, Limit: in.Limit}
	for _, status := range in.Status {
		q.Statuses = append(q.Statuses, order.Status(status))
	}
	var err error
	q.Cursor, err = decodeCursor(in.Cursor)
	if err != nil {
		return q, badCursor()
	}
	q.Since, err = parseTime(in.Since, now)
	if err != nil {
		return q, badTime("since")
	}
	q.Before, err = parseTime(in.Before, now)
	if err != nil {
		return q, badTime("before")
	}
	return q, nil
}

func badTime(name string) error { return badQuery(name, "must be RFC 3339 or a duration such as 15m") }

func (s *server) listSagas(ctx context.Context, in *listInput) (*tagged[List], error) {
	q, err := in.query(time.Now())
	if err != nil {
		return nil, err
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
		return conditional(ctx, s, in.Known, out)
	}
	page, err := s.Orders.List(ctx, q)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	out.Sagas, out.Next = make([]Saga, len(page.Records)), encodeCursor(page.Next)
	for i, rec := range page.Records {
		out.Sagas[i] = toSaga(rec)
	}
	return conditional(ctx, s, in.Known, out)
}

// listByEngine returns a page of what q selects and that is stuck, compensates, or has
// one of the runtime statuses in the engine.
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

func (s *server) getSaga(ctx context.Context, in *readInput) (*tagged[Saga], error) {
	one, err := s.saga(ctx, in.ID)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return conditional(ctx, s, in.Known, one)
}

func (s *server) getHistory(ctx context.Context, in *readInput) (*tagged[History], error) {
	events, err := s.Sagas.History(ctx, in.ID)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return conditional(ctx, s, in.Known, History{Events: append([]engine.Event{}, events...)})
}
