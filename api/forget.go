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

// customersPath is before what is about one customer.
const customersPath = "/v1/customers/"

// CustomerInput names a customer; exported as IDInput is.
type CustomerInput struct {
	ID string `path:"id" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." doc:"The customer's id." example:"c-7"`
}

type forgetInput struct {
	CustomerInput

	Body *Said `required:"false"`
}

// Forgotten is what came of forgetting a customer.
type Forgotten struct {
	Erased   int      `json:"erased" doc:"So many orders that have ended were theirs, and are nobody's now."`
	Open     []string `json:"open" nullable:"false" doc:"Ids of their orders that have not ended, and are as they were. Repeat this when they have."`
	Letters  int      `json:"deadLetters" doc:"So many dead letters about them were deleted. Those that are about an open order stay with it."`
	Complete bool     `json:"complete" doc:"Nothing of theirs is left. Otherwise there are open orders, or there was no time for more: repeat this."`
}

func (s *server) customers(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "forgetCustomer", Method: http.MethodPost, Path: customersPath + "{id}/forget", Tags: []string{"actions"},
		Summary: "Forget a customer",
		Description: "Erases name, address and customer id from their orders that have ended: from the orders table, from the sagas' histories, which are purged, and with the dead letters about them, which are deleted. " +
			"What was ordered, paid and shipped stays, with a note that this has happened. It cannot be taken back, may be repeated, and docs/personal-data.md says what it does not reach.",
		Errors: []int{http.StatusUnprocessableEntity},
	}, s.forget)
}

// forget erases dead letters first: once an order is nobody's, they would not be
// found by the customer any more. Whatever it gets through stays done.
func (s *server) forget(ctx context.Context, in *forgetInput) (*struct{ Body Forgotten }, error) {
	said := heard(ctx, in.Body)
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
		return nil, s.noLetter(ctx, err)
	}
	for id := range ended {
		erased, err := s.forgetOrder(within, id, noteOf(ctx, orderstore.NoteForget, said))
		switch {
		case errors.Is(err, orderstore.ErrOpen):
			open[id] = true
		case within.Err() != nil && ctx.Err() == nil: // there is no more time
			return s.forgotten(ctx, out, open, false)
		case err != nil:
			return nil, s.failed(ctx, err)
		case erased:
			out.Erased++
		}
	}
	return s.forgotten(ctx, out, open, true)
}

// forgetOrder erases the history first: the order is found by its customer until
// the end.
func (s *server) forgetOrder(ctx context.Context, id string, n orderstore.Note) (erased bool, err error) {
	err = s.Sagas.Purge(ctx, id)
	switch {
	case errors.Is(err, engine.ErrNotCompleted): // it is about to, or somebody has begun another
		return false, orderstore.ErrOpen
	case err != nil && !errors.Is(err, engine.ErrNotFound):
		return false, err
	}
	return s.Orders.Forget(ctx, id, n)
}

func (s *server) forgotten(ctx context.Context, out Forgotten, open map[string]bool, done bool) (*struct{ Body Forgotten }, error) {
	if s.Scrub != nil { // also of what a process has purged that died before this
		if err := s.Scrub(); err != nil {
			return nil, s.failed(ctx, err)
		}
	}
	for id := range open {
		out.Open = append(out.Open, id)
	}
	slices.Sort(out.Open)
	out.Complete = done && len(open) == 0
	s.Logger.Info().Int("orders", out.Erased).Int("open", len(out.Open)).Int("letters", out.Letters).Msg("a customer was forgotten")
	return &struct{ Body Forgotten }{out}, nil
}
