package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// customersPath precedes the id of a customer.
const customersPath = "/v1/customers/"

// CustomerInput is the path parameter of a customer. It is exported for the same reason as
// IDInput.
type CustomerInput struct {
	ID string `path:"id" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." doc:"Id of the customer." example:"c-7"`
}

type forgetInput struct {
	CustomerInput

	Body *ActionNote `required:"false"`
}

// Forgotten is the result of erasing a customer.
type Forgotten struct {
	Erased   int      `json:"erased" doc:"Number of orders that were erased. They have ended."`
	Open     []string `json:"open" nullable:"false" doc:"Ids of the customer's orders that have not ended. They are unchanged; repeat the request when they have ended."`
	Letters  int      `json:"deadLetters" doc:"Number of dead letters about the customer that were deleted. Those about an open order stay."`
	Complete bool     `json:"complete" doc:"Nothing about the customer is left. Otherwise there are open orders, or the time was over: repeat the request."`
}

func (s *server) customers(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "forgetCustomer", Method: http.MethodPost, Path: customersPath + "{id}/forget", Tags: []string{"actions"},
		Summary: "Erase a customer",
		Description: "Erases name, address and customer id from the customer's orders that have ended. " +
			"It deletes the histories of their sagas and the dead letters about the customer. " +
			"Order lines, payments and shipments are kept, with a note of the erasure. Erasure is irreversible and idempotent. " +
			"docs/personal-data.md lists what it does not reach.",
		Errors: []int{http.StatusUnprocessableEntity},
	}, s.forget)
}

// forget deletes dead letters first: once an order has no customer, they can no longer be
// found. An interrupted run keeps what it has erased.
func (s *server) forget(ctx context.Context, in *forgetInput) (*struct{ Body Forgotten }, error) {
	note := withActor(ctx, in.Body)
	within, cancel := context.WithTimeout(ctx, requestTimeout*5/6)
	defer cancel()
	out := Forgotten{Open: []string{}}
	ended, open := map[string]bool{}, map[string]bool{}
	for cursor, more := "", true; more; more = cursor != "" {
		page, err := s.Orders.List(within, orderstore.Query{CustomerID: in.ID, Limit: 1000, Cursor: cursor})
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		for _, rec := range page.Records {
			if rec.Status.Terminal() {
				ended[rec.OrderID] = true
			} else {
				open[rec.OrderID] = true
			}
		}
		cursor = page.Next
	}
	var err error
	out.Letters, err = s.DeadLetters.Forget(within, func(l deadletter.Message) bool { return l.Concerns(in.ID, ended, open) })
	if err != nil {
		return nil, s.failedDeadLetter(ctx, err)
	}
	for id := range ended {
		erased, err := s.forgetOrder(within, id, newNote(ctx, orderstore.NoteForget, note))
		switch {
		case errors.Is(err, orderstore.ErrOpen):
			open[id] = true
		case within.Err() != nil && ctx.Err() == nil: // the time is over
			return s.forgotten(ctx, out, open, false)
		case err != nil:
			return nil, s.failed(ctx, err)
		case erased:
			out.Erased++
		}
	}
	return s.forgotten(ctx, out, open, true)
}

// forgetOrder erases the history first: as long as the order has its customer, a retry
// finds it.
func (s *server) forgetOrder(ctx context.Context, id string, n orderstore.Note) (erased bool, err error) {
	err = s.Sagas.Purge(ctx, id)
	switch {
	case errors.Is(err, engine.ErrNotCompleted): // it is about to complete, or another saga was started
		return false, orderstore.ErrOpen
	case err != nil && !errors.Is(err, engine.ErrNotFound):
		return false, err
	}
	return s.Orders.Forget(ctx, id, n)
}

// forgotten returns the result of forget. done is false if the time was over.
func (s *server) forgotten(ctx context.Context, out Forgotten, open map[string]bool, done bool) (*struct{ Body Forgotten }, error) {
	if s.Scrub != nil { // also what a process purged that exited before this
		if err := s.Scrub(); err != nil {
			return nil, s.failed(ctx, err)
		}
	}
	for id := range open {
		out.Open = append(out.Open, id)
	}
	slices.Sort(out.Open)
	out.Complete = done && len(open) == 0
	s.Logger.Info().Int("orders", out.Erased).Int("open", len(out.Open)).Int("letters", out.Letters).Msg("customer erased")
	return &struct{ Body Forgotten }{Body: out}, nil
}
