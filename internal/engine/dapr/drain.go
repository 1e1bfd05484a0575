package dapr

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/grpc"

	"github.com/ordersaga/ordersaga/internal/engine"
)

// drain is a connection that counts the work items under way, and can stop
// the flow of new ones while those finish. The SDK's listener knows one
// context for both, so that stopping it cuts off what it is doing: a charge in
// the middle of its call, say. Dapr gives what a worker had to another one as
// soon as its stream ends; finishing here keeps outcomes known, and the step's
// second run finds them.
type drain struct {
	grpc.ClientConnInterface
	terminated engine.OnTerminated // called before the sidecar gets such an answer

	mu       sync.Mutex
	stopping bool
	cancel   context.CancelFunc // of the stream of work items
	items    int
	idle     chan struct{} // closed when stopping and items is 0
}

// stop ends the flow and waits for what is under way; left is what was not
// done in time.
func (d *drain) stop(within time.Duration) (left int) {
	d.mu.Lock()
	d.stopping, d.idle = true, make(chan struct{})
	if d.cancel != nil {
		d.cancel()
	}
	d.check()
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

// check closes idle when nothing is left; mu is held.
func (d *drain) check() {
	if d.stopping && d.items == 0 {
		select {
		case <-d.idle:
		default:
			close(d.idle)
		}
	}
}

func (d *drain) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.items += n
	d.check()
}

func (d *drain) stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

// Invoke implements grpc.ClientConnInterface.
func (d *drain) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if strings.HasSuffix(method, "/Hello") && d.stopped() {
		<-ctx.Done() // the listener wants its stream back, and will not get it
		return ctx.Err()
	}
	var err error
	if answer, ok := args.(*protos.WorkflowResponse); ok {
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
func (d *drain) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if !strings.HasSuffix(method, "/GetWorkItems") {
		return d.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	}
	ctx, cancel := context.WithCancel(ctx)
	d.mu.Lock()
	if d.cancel != nil {
		d.cancel() // of a stream that broke
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
	return &workItems{s, d}, nil
}

type workItems struct {
	grpc.ClientStream

	d *drain
}

// RecvMsg counts what it hands to the listener.
func (w *workItems) RecvMsg(m any) error {
	err := w.ClientStream.RecvMsg(m)
	if item, ok := m.(*protos.WorkItem); ok && err == nil && (item.GetWorkflowRequest() != nil || item.GetActivityRequest() != nil) {
		w.d.count(1)
		if r := item.GetWorkflowRequest(); r != nil {
			r.PastEvents, r.NewEvents, _ = engine.ForSDK(r.GetPastEvents(), r.GetNewEvents())
		}
	}
	return err
}
