package worker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
)

// startGuard starts sagas for durable-task clients as intake does: the order is
// recorded first, its payment token stays out of the history, and this worker's terms
// apply.
type startGuard struct{ starter intake.Starter }

// startTimeout limits one start.
const startTimeout = 30 * time.Second

// start validates a saga's input, of which it uses the order only, and starts the
// saga. An error that is not a gRPC status is transient: the client retries it.
func (g startGuard) start(ctx context.Context, workflow, id string, input []byte) error {
	if workflow != workflows.OrderSaga {
		return status.Errorf(codes.InvalidArgument, "name: no workflow is called %q here, only %s is", workflow, workflows.OrderSaga)
	}
	var in struct{ Order json.RawMessage }
	if err := json.Unmarshal(input, &in); err != nil || len(in.Order) == 0 {
		return status.Error(codes.InvalidArgument, `input: must be {"order":{…}}`)
	}
	o, err := order.Parse(in.Order)
	if err != nil {
		return status.Error(codes.InvalidArgument, "input: "+err.Error())
	}
	if o.OrderID != id {
		return status.Errorf(codes.InvalidArgument, "instanceId: must be the order's id, %s", o.OrderID)
	}
	// Once the order is recorded its saga must start, even if the client has disconnected.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	rec, created, err := g.starter.Start(ctx, o)
	switch {
	case errors.Is(err, orderstore.ErrConflict):
		return status.Errorf(codes.AlreadyExists, "order %s: %v", id, err)
	case err == nil && !created:
		return status.Errorf(codes.AlreadyExists, "order %s was accepted before, and is %s", id, rec.Status)
	}
	return err
}
