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

// door lets durable-task clients start what intake would start, in the same
// way: the order is recorded first, its payment token stays out of the
// history, and it goes by this worker's terms.
type door struct{ starter intake.Starter }

// doorTime is how long a start may take.
const doorTime = 30 * time.Second

// start takes a saga's input, of which only the order counts. Its errors are
// gRPC statuses, or to be retried.
func (d door) start(ctx context.Context, workflow, id string, input []byte) error {
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
	// Once it is recorded it is started, though the client has gone away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), doorTime)
	defer cancel()
	rec, created, err := d.starter.Start(ctx, o)
	switch {
	case errors.Is(err, orderstore.ErrConflict):
		return status.Errorf(codes.AlreadyExists, "order %s: %v", id, err)
	case err == nil && !created:
		return status.Errorf(codes.AlreadyExists, "order %s was accepted before, and is %s", id, rec.Status)
	}
	return err
}
