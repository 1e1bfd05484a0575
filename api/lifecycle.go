package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// lifecycle registers what operators do to a saga as a workflow, whatever its order's
// status.
func (s *server) lifecycle(h huma.API) {
	huma.Register(h, actionOperation("suspendSaga", "suspend", "Pause a saga",
		"A step that runs is finished; no other one starts until the saga is resumed. The order and its reservation stay as they are."),
		s.workflowAction("suspend", func(rec orderstore.Record, inst engine.Instance) string {
			if inst.Status == engine.Suspended {
				return "the saga is suspended already"
			}
			return notRunning(rec, inst)
		}, s.Sagas.Suspend))
	huma.Register(h, actionOperation("resumeSaga", "resume", "Continue a paused saga", ""),
		s.workflowAction("resume", func(_ orderstore.Record, inst engine.Instance) string {
			if inst.Status != engine.Suspended {
				return "the saga is not suspended"
			}
			return ""
		}, s.Sagas.Resume))
	huma.Register(h, actionOperation("terminateSaga", "terminate", "Stop a saga without compensating",
		"A last resort. The reconciler then compensates the order, or, if its shipment was requested, marks it as needing attention."),
		s.workflowAction("terminate", notRunning, s.Sagas.Terminate))
	huma.Register(h, huma.Operation{
		OperationID: "purgeSaga", Method: http.MethodDelete, Path: "/v1/sagas/{id}", Tags: []string{"actions"},
		Summary:       "Delete the history of a saga that has ended",
		Description:   "The order and its notes stay, with the customer in them: forgetCustomer erases those.",
		DefaultStatus: http.StatusNoContent,
		Errors:        []int{http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
	}, s.purge)
}

// notRunning returns why a saga cannot be suspended or terminated, or "".
func notRunning(_ orderstore.Record, inst engine.Instance) string {
	if hasEnded(inst) {
		return "the order has no running saga"
	}
	return ""
}

// workflowAction returns the handler of an action on the saga as a workflow.
func (s *server) workflowAction(
	name string, precondition func(orderstore.Record, engine.Instance) string, do func(ctx context.Context, id, reason string) error,
) func(context.Context, *actionInput) (*sagaOutput, error) {
	return func(ctx context.Context, in *actionInput) (*sagaOutput, error) {
		note := withActor(ctx, in.Body)
		return s.apply(ctx, in.ID, action{
			name: name, attempt: name + " the saga of", note: note,
			precondition: precondition, alreadyApplied: never, persist: s.Orders.RecordOperatorReply,
			notify: func(ctx context.Context, id string) error {
				return do(ctx, id, saga.Reason(name, note.By, note.Note))
			},
		})
	}
}

// purgeInput has by and note in the query: a DELETE has no body.
type purgeInput struct {
	IDInput

	By   string `query:"by" maxLength:"64" doc:"Name of the operator. Ignored for authenticated callers: the token names them." example:"ann"`
	Note string `query:"note" maxLength:"500" doc:"Reason of the action." example:"tidied up"`
}

func (s *server) purge(ctx context.Context, in *purgeInput) (*struct{}, error) {
	rec, err := s.Orders.Get(ctx, in.ID)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if !rec.Status.Terminal() {
		return nil, conflict("delete the history of order "+in.ID,
			"the order is "+string(rec.Status)+"; its saga needs the history until it has ended")
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	err = s.Sagas.Purge(ctx, in.ID)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	note := withActor(ctx, &ActionNote{By: in.By, Note: in.Note})
	err = s.Orders.AddNote(ctx, in.ID, newNote(ctx, "purge", note))
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	return nil, nil
}
