package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
)

// invalid is the detail of a problem whose errors name the fields or parameters and what is
// wrong with them.
const invalid = "validation failed"

// problem writes a problem document outside of huma's handlers. location names the
// faulty part of the request; it may be "".
func problem(w http.ResponseWriter, status int, location, detail string) {
	p := huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}
	if location != "" {
		p.Errors = []*huma.ErrorDetail{{Location: location, Message: detail}}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}

// conflict returns a 409 without details: what was attempted, such as "cancel order o-1",
// and why it was refused. attempted may be "".
func conflict(attempted, reason string) error {
	if attempted != "" {
		reason = "cannot " + attempted + ": " + reason
	}
	return huma.Error409Conflict(reason)
}

// idInUse returns the 409 for an order whose id another order has. It names the fields
// that differ.
func idInUse(err error) error {
	details := []error{&huma.ErrorDetail{Location: "body.orderId", Message: "is already used by a different order"}}
	if differs, ok := errors.AsType[*orderstore.ConflictError](err); ok {
		for _, field := range differs.Fields {
			details = append(details, &huma.ErrorDetail{Location: "body." + field, Message: "is different in the order that has this id"})
		}
	}
	return huma.Error409Conflict(err.Error(), details...)
}

// conflicts are the errors that are a 409 as they are.
var conflicts = []error{
	engine.ErrEnded, engine.ErrActive, engine.ErrNotCompleted, engine.ErrStalled, engine.ErrInMemory, reconcile.ErrNoSaga,
	orderstore.ErrFinished,
}

// failed maps an error to its problem document. It is the only place that does.
func (s *server) failed(ctx context.Context, err error) error {
	log := zerolog.Ctx(ctx)
	isErr := func(target error) bool { return errors.Is(err, target) }
	switch {
	case isErr(orderstore.ErrNotFound), isErr(engine.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case isErr(engine.ErrInvalidID), isErr(engine.ErrInvalidLimit):
		return huma.Error422UnprocessableEntity(err.Error())
	case isErr(orderstore.ErrConflict):
		return idInUse(err)
	case anyOf(conflicts, isErr):
		return conflict("", err.Error())
	case isErr(orderstore.ErrChanged):
		return huma.Error412PreconditionFailed(err.Error() + "; read the level and count again")
	case isErr(context.DeadlineExceeded), isErr(context.Canceled):
		return huma.Error503ServiceUnavailable("the request took too long; retry it")
	case isErr(engine.ErrUnavailable):
		log.Warn().Err(err).Msg("the engine does not respond")
		return huma.Error503ServiceUnavailable(engine.ErrUnavailable.Error())
	}
	if later, ok := errors.AsType[*reconcile.DeferredError](err); ok {
		log.Warn().Err(err).Msg("a resolution cannot be carried out yet")
		return huma.Error503ServiceUnavailable(later.Error())
	}
	if reserved, ok := errors.AsType[*orderstore.ReservedError](err); ok {
		return huma.Error409Conflict(reserved.Error(), &huma.ErrorDetail{Location: "body.onHand", Message: reserved.Error()})
	}
	if done, ok := errors.AsType[huma.StatusError](err); ok {
		return done
	}
	if faults, ok := errors.AsType[*order.InvalidError](err); ok {
		return invalidOrder(faults)
	}
	log.Error().Err(err).Msg("request failed")
	return huma.Error500InternalServerError(internalError(ctx))
}

// anyOf reports whether one of the targets is what is asked for.
func anyOf(targets []error, is func(error) bool) bool {
	return slices.ContainsFunc(targets, is)
}

// internalError is the detail of a 500. Only the log has the reason.
func internalError(ctx context.Context) string {
	return "internal error; the log has the reason under request " + requestIDOf(ctx)
}

func invalidOrder(err *order.InvalidError) error {
	details := fieldErrors(err.Fields)
	for i, f := range err.Fields {
		if f.Field == "body" { // the whole body: an order has no field of this name
			details[i] = &huma.ErrorDetail{Location: f.Field, Message: f.Message}
		}
	}
	return huma.Error422UnprocessableEntity("the order is not valid", details...)
}

// fieldErrors maps faults of the body's fields to the errors of a problem document.
func fieldErrors(faults []order.FieldError) []error {
	all := make([]error, len(faults))
	for i, f := range faults {
		all[i] = &huma.ErrorDetail{Location: "body." + f.Field, Message: f.Message}
	}
	return all
}

// badQuery returns the 400 for a query parameter.
func badQuery(name, message string) error {
	return huma.Error400BadRequest(invalid, &huma.ErrorDetail{Location: "query." + name, Message: message})
}

// joined returns names as a list for people.
func joined[T ~string](names []T, separator string) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = string(name)
	}
	return strings.Join(all, separator)
}
