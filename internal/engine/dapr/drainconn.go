package dapr

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/grpc"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/replay"
)

// drainConn is a connection to the sidecar that counts the work items in progress,
// and can stop the stream of new ones while those finish. The SDK's listener has
// one context for both, so that stopping it would cancel work in progress, such as
// a charge in the middle of its call. Dapr assigns a worker's items to another
// worker as soon as its stream ends. Finishing them here records their outcome,
// and the second run of the step finds it.
type drainConn struct {
	grpc.ClientConnInterface
	terminated engine.OnTerminated // called before a termination is reported to the sidecar
	stalled    engine.OnStalled    // called before a turn that stalls an instance is
	calls      calls

	mu       sync.Mutex
	stopping bool
	cancel   context.CancelFunc // of the stream of work items
	items    int                // in progress
	idle     chan struct{}      // closed when stopping and items is 0
}

// stop ends the stream and waits for the items in progress, for at most within.
// left is how many are still in progress then.
func (d *drainConn) stop(within time.Duration) (left int) {
	d.mu.Lock()
	d.stopping, d.idle = true, make(chan struct{})
	if d.cancel != nil {
		d.cancel()
	}
	d.closeIfIdle()
	d.mu.Unlock()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-d.idle:
	case <-timer.C:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.items
}

// closeIfIdle closes idle when no item is left. The caller holds mu.
func (d *drainConn) closeIfIdle() {
	if d.stopping && d.items == 0 {
		select {
		case <-d.idle:
		default:
			close(d.idle)
		}
	}
}

func (d *drainConn) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.items += n
	d.closeIfIdle()
}

func (d *drainConn) stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

// Invoke implements grpc.ClientConnInterface.
func (d *drainConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if strings.HasSuffix(method, "/Hello") && d.stopped() {
		<-ctx.Done() // the listener tries to reconnect its stream, which must not happen
		return ctx.Err()
	}
	switch answer := args.(type) { // the SDK only logs an answer that gRPC cannot encode, and the sidecar waits for it
	case *protos.ActivityResponse:
		if !d.calls.end(answer) {
			d.count(-1)
			return nil
		}
		engine.ValidText(answer)
	case *protos.WorkflowResponse:
		engine.ValidText(answer)
	}
	var err error
	if answer, ok := args.(*protos.WorkflowResponse); ok {
		replaceInvalidChildren(answer)
		if why := replay.Answer(answer); why != "" {
			d.stalled(answer.GetInstanceId(), why)
		}
		if reason, ends := engine.EndsTerminated(answer); ends {
			err = d.terminated(ctx, answer.GetInstanceId(), reason)
		}
	}
	if err == nil {
		err = d.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	}
	if strings.HasSuffix(method, "/CompleteActivityTask") || strings.HasSuffix(method, "/CompleteWorkflowTask") {
		d.count(-1)
	}
	return err
}

// NewStream implements grpc.ClientConnInterface.
func (d *drainConn) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	if !strings.HasSuffix(method, "/GetWorkItems") {
		return d.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	}
	ctx, cancel := context.WithCancel(ctx)
	d.mu.Lock()
	if d.cancel != nil {
		d.cancel() // the previous stream, which broke
	}
	if d.stopping {
		cancel()
	}
	d.cancel = cancel
	d.mu.Unlock()
	s, err := d.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	if err != nil {
		cancel()
		return nil, err
	}
	return &workItems{ClientStream: s, d: d}, nil
}

// workItems is the stream of work items to the listener.
type workItems struct {
	grpc.ClientStream

	d *drainConn
}

// RecvMsg implements grpc.ClientStream. It counts the items, and repairs and
// filters the events of workflow items for the SDK.
func (w *workItems) RecvMsg(m any) error {
	err := w.ClientStream.RecvMsg(m)
	item, ok := m.(*protos.WorkItem)
	if ok && err == nil && (item.GetWorkflowRequest() != nil || item.GetActivityRequest() != nil) {
		w.d.count(1)
		if r := item.GetActivityRequest(); r != nil {
			w.d.calls.begin(r)
		}
		if r := item.GetWorkflowRequest(); r != nil {
			repairAnswers(r.GetPastEvents(), r.GetNewEvents())
			r.PastEvents, r.NewEvents, _ = engine.ForSDK(r.GetPastEvents(), r.GetNewEvents())
		}
	}
	return err
}
