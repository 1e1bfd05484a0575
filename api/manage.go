package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// manage is what an operator does to a saga as a workflow, whatever its order.
func (s *server) manage(h huma.API, op func(id, path, summary, description string) huma.Operation) {
	running := func(_ orderstore.Record, inst engine.Instance) string {
		if gone(inst) {
			return "the order has no running saga"
		}
		return ""
	}
	huma.Register(h, op("suspendSaga", "suspend", "Hold a saga up",
		"It takes no further step until it is resumed; one that is under way is finished. Its order stays as it is, stock and all."),
		s.managed("suspend", func(rec orderstore.Record, inst engine.Instance) string {
			if inst.Status == engine.Suspended {
				return "the saga is suspended already"
			}
			return running(rec, inst)
		}, s.Sagas.Suspend))
	huma.Register(h, op("resumeSaga", "resume", "Let a suspended saga go on", ""),
		s.managed("resume", func(_ orderstore.Record, inst engine.Instance) string {
			if inst.Status != engine.Suspended {
				return "the saga is not suspended"
			}
			return ""
		}, s.Sagas.Resume))
	huma.Register(h, op("terminateSaga", "terminate", "End a saga where it stands",
		"The last resort: it undoes nothing. The reconciler then refunds and releases the order, or parks it for an operator if its shipment was requested."),
		s.managed("terminate", running, s.Sagas.Terminate))
	huma.Register(h, huma.Operation{
		OperationID: "purgeSaga", Method: http.MethodDelete, Path: "/v1/sagas/{id}", Tags: []string{"actions"},
		Summary: "Forget the history of a saga that has ended", Description: "The order and its notes stay, with the customer in them: forgetCustomer erases those.", DefaultStatus: http.StatusNoContent,
		Errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
	}, s.purge)
}

// purgeInput says who and why in the query: a DELETE has no body.
type purgeInput struct {
	IDInput

	By   string `query:"by" maxLength:"64" doc:"Who acts." example:"ann"`
	Note string `query:"note" maxLength:"500" doc:"Why." example:"tidied up"`
}

func (s *server) purge(ctx context.Context, in *purgeInput) (*struct{}, error) {
	rec, err := s.Orders.Get(ctx, in.ID)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if !rec.Status.Terminal() {
		return nil, huma.Error409Conflict("the order is " + string(rec.Status) + "; what its saga has done is needed until it has ended")
	}
	ctx, cancel := carriedOut(ctx)
	defer cancel()
	if err := s.Sagas.Purge(ctx, in.ID); err != nil {
		return nil, s.failed(ctx, err)
	}
	said := heard(ctx, &Said{By: in.By, Note: in.Note})
	if err := s.Orders.AddNote(ctx, in.ID, noteOf(ctx, "purge", said)); err != nil {
		return nil, s.failed(ctx, err)
	}
	return nil, nil
}

func (s *server) managed(name string, why func(orderstore.Record, engine.Instance) string, do func(ctx context.Context, id, reason string) error) func(context.Context, *actionInput) (*sagaOutput, error) {
	return func(ctx context.Context, in *actionInput) (*sagaOutput, error) {
		said := heard(ctx, in.Body)
		return s.act(ctx, in.ID, action{
			name: name, said: said, why: why, done: never, commit: s.Orders.RecordOperatorReply,
			tell: func(ctx context.Context, id string) error {
				return do(ctx, id, saga.Reason(name, said.By, said.Note))
			},
		})
	}
}
