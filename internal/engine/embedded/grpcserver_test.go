package embedded

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/client"
	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// served is an engine with durable-task clients.
type served struct {
	running
	raw     protos.TaskHubSidecarServiceClient
	hub     *client.TaskHubGrpcClient
	conn    *grpc.ClientConn
	address string
	unserve func() error  // stops Serve and returns its error
	under   chan struct{} // closed when a start of "takes long" is in progress
}

// serveClients starts an engine and serves it. It has a workflow that waits for the
// event "go" and returns its payload, and one that calls an activity.
func serveClients(t *testing.T) *served {
	t.Helper()
	registry := workflows(t, map[string]task.Workflow{
		"waits": func(ctx *task.WorkflowContext) (any, error) {
			var s string
			err := ctx.WaitForSingleEvent("go", -1).Await(&s)
			return s, err
		},
		"acts": func(ctx *task.WorkflowContext) (any, error) {
			var s string
			err := ctx.CallActivity("act").Await(&s)
			return s, err
		},
	})
	require.NoError(t, registry.AddActivityN("act", func(task.ActivityContext) (any, error) { return "acted", nil }))
	s := &served{running: runEngine(t, registry, Options{}), under: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Serve(ctx, l, func(ctx context.Context, workflow, id string, input []byte) error {
			switch workflow {
			case "rejected":
				return status.Error(codes.PermissionDenied, "no")
			case "takes long":
				close(s.under)
				<-ctx.Done()
				return ctx.Err()
			}
			return s.Start(ctx, workflow, id, string(input))
		})
	}()
	s.unserve = func() error {
		cancel()
		err := <-ended
		ended <- nil // for the cleanup
		return err
	}
	s.conn, err = grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	s.raw, s.hub = protos.NewTaskHubSidecarServiceClient(s.conn), client.NewTaskHubGrpcClient(s.conn, engine.Logger(zerolog.Nop()))
	t.Cleanup(func() {
		if err := errors.Join(s.conn.Close(), s.unserve()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func (s *served) schedule(t *testing.T, workflow, id string) {
	t.Helper()
	got, err := s.hub.ScheduleNewWorkflow(t.Context(), workflow, api.WithInstanceID(api.InstanceID(id)))
	if err != nil || string(got) != id {
		t.Fatalf("ScheduleNewWorkflow = %q (error %v), want %q", got, err, id)
	}
}

func TestClientsManageWorkflowsOverGRPC(t *testing.T) {
	s, ctx := serveClients(t), t.Context()
	s.schedule(t, "waits", "a")
	if m, err := s.hub.WaitForWorkflowStart(ctx, "a"); err != nil || m.Name != "waits" {
		t.Fatalf("WaitForWorkflowStart = %+v, %v, want workflow waits", m, err)
	}
	require.NoError(t, s.hub.SuspendWorkflow(ctx, "a", "why"))
	s.becomes(t, "a", engine.Suspended)
	require.NoError(t, s.hub.SuspendWorkflow(ctx, "a", "once more, which changes nothing"))
	require.NoError(t, s.hub.RaiseEvent(ctx, "a", "go", api.WithEventPayload("on")))
	require.NoError(t, s.hub.ResumeWorkflow(ctx, "a", ""))
	m, err := s.hub.WaitForWorkflowCompletion(ctx, "a")
	if err != nil || m.Output.GetValue() != `"on"` {
		t.Errorf("WaitForWorkflowCompletion = %+v, %v, want output \"on\"", m, err)
	}

	s.schedule(t, "waits", "b")
	require.NoError(t, s.hub.TerminateWorkflow(ctx, "b", api.WithOutput("enough")))
	s.want(t, "b", engine.Terminated, `"enough"`)
	require.NoError(t, s.hub.PurgeWorkflowState(ctx, "b"))
	if _, err := s.hub.FetchWorkflowMetadata(ctx, "b"); !errors.Is(err, api.ErrInstanceNotFound) {
		t.Errorf("FetchWorkflowMetadata after the purge = %v, want ErrInstanceNotFound", err)
	}

	s.schedule(t, "acts", "c")
	s.want(t, "c", engine.Completed, `"acted"`)
	h, err := s.hub.GetInstanceHistory(ctx, "c")
	require.NoError(t, err)
	for _, e := range h.GetEvents() {
		if e.GetTaskScheduled() != nil {
			id, err := s.hub.RerunWorkflowFromEvent(ctx, "c", uint32(e.GetEventId()), api.WithRerunNewInstanceID("d"))
			if err != nil || id != "d" {
				t.Errorf("RerunWorkflowFromEvent = %s, %v, want d", id, err)
			}
		}
	}
	s.want(t, "d", engine.Completed, `"acted"`)
	if list, err := s.hub.ListInstanceIDs(ctx); err != nil || strings.Join(list.GetInstanceIds(), " ") != "a c d" {
		t.Errorf("ListInstanceIDs = %v, %v, want a c d", list, err)
	}
}

func TestServeRejectsWithCodeAndReason(t *testing.T) {
	s, ctx := serveClients(t), t.Context()
	s.schedule(t, "waits", "live")
	s.schedule(t, "acts", "ended")
	s.want(t, "ended", engine.Completed, `"acted"`)
	purge := func(id string) *protos.PurgeInstancesRequest {
		return &protos.PurgeInstancesRequest{Request: &protos.PurgeInstancesRequest_InstanceId{InstanceId: id}}
	}
	for name, c := range map[string]struct {
		do   func() (any, error)
		want codes.Code
		text string // part of the message
	}{
		"start without an id": {func() (any, error) {
			return s.raw.StartInstance(ctx, &protos.CreateInstanceRequest{Name: "waits"})
		}, codes.InvalidArgument, "instanceId"},
		"start that runs": {func() (any, error) {
			return s.raw.StartInstance(ctx, &protos.CreateInstanceRequest{Name: "waits", InstanceId: "live"})
		}, codes.AlreadyExists, "live"},
		"start that is rejected": {func() (any, error) {
			return s.raw.StartInstance(ctx, &protos.CreateInstanceRequest{Name: "rejected", InstanceId: "x"})
		}, codes.PermissionDenied, "no"},
		"start later": {func() (any, error) {
			return s.raw.StartInstance(ctx, &protos.CreateInstanceRequest{
				Name: "waits", InstanceId: "x", ScheduledStartTimestamp: timestamppb.Now(),
			})
		}, codes.Unimplemented, "at once"},
		"get without an id": {func() (any, error) {
			return s.raw.GetInstance(ctx, &protos.GetInstanceRequest{})
		}, codes.InvalidArgument, "instanceId"},
		"get with an invalid id": {func() (any, error) {
			return s.raw.GetInstance(ctx, &protos.GetInstanceRequest{InstanceId: "a||b"})
		}, codes.InvalidArgument, "instanceId: "},
		"rerun of an invalid id": {func() (any, error) {
			return s.raw.RerunWorkflowFromEvent(ctx, &protos.RerunWorkflowFromEventRequest{SourceInstanceID: "a/b"})
		}, codes.InvalidArgument, "sourceInstanceID: "},
		"rerun as an invalid id": {func() (any, error) {
			return s.raw.RerunWorkflowFromEvent(ctx, &protos.RerunWorkflowFromEventRequest{SourceInstanceID: "ended", NewInstanceID: new("a/b")})
		}, codes.InvalidArgument, "a/b"},
		"raise without a name": {func() (any, error) {
			return s.raw.RaiseEvent(ctx, &protos.RaiseEventRequest{InstanceId: "live"})
		}, codes.InvalidArgument, "name"},
		"raise, unknown": {func() (any, error) {
			return s.raw.RaiseEvent(ctx, &protos.RaiseEventRequest{InstanceId: "x", Name: "go"})
		}, codes.NotFound, "x"},
		"raise, ended": {func() (any, error) {
			return s.raw.RaiseEvent(ctx, &protos.RaiseEventRequest{InstanceId: "ended", Name: "go"})
		}, codes.FailedPrecondition, "COMPLETED"},
		"suspend, ended": {func() (any, error) {
			return s.raw.SuspendInstance(ctx, &protos.SuspendRequest{InstanceId: "ended"})
		}, codes.FailedPrecondition, "ended"},
		"resume, ended": {func() (any, error) {
			return s.raw.ResumeInstance(ctx, &protos.ResumeRequest{InstanceId: "ended"})
		}, codes.FailedPrecondition, "ended"},
		"terminate, unknown": {func() (any, error) {
			return s.raw.TerminateInstance(ctx, &protos.TerminateRequest{InstanceId: "x"})
		}, codes.NotFound, "x"},
		"terminate, ended": {func() (any, error) {
			return s.raw.TerminateInstance(ctx, &protos.TerminateRequest{InstanceId: "ended"})
		}, codes.FailedPrecondition, "ended"},
		"purge, running": {func() (any, error) {
			return s.raw.PurgeInstances(ctx, purge("live"))
		}, codes.FailedPrecondition, "not yet"},
		"purge by a filter": {func() (any, error) {
			filter := &protos.PurgeInstancesRequest_PurgeInstanceFilter{PurgeInstanceFilter: &protos.PurgeInstanceFilter{}}
			return s.raw.PurgeInstances(ctx, &protos.PurgeInstancesRequest{Request: filter})
		}, codes.Unimplemented, "filter"},
		"history, unknown": {func() (any, error) {
			return s.raw.GetInstanceHistory(ctx, &protos.GetInstanceHistoryRequest{InstanceId: "x"})
		}, codes.NotFound, "no such"},
		"rerun, unknown": {func() (any, error) {
			return s.raw.RerunWorkflowFromEvent(ctx, &protos.RerunWorkflowFromEventRequest{SourceInstanceID: "x"})
		}, codes.NotFound, "no such"},
		"a worker's work": {func() (any, error) {
			stream, err := s.raw.GetWorkItems(ctx, &protos.GetWorkItemsRequest{})
			require.NoError(t, err)
			return stream.Recv()
		}, codes.Unimplemented, "only clients"},
		"a worker's result": {func() (any, error) {
			return s.raw.CompleteWorkflowTask(ctx, &protos.WorkflowResponse{})
		}, codes.Unimplemented, "only clients"},
		"an activity's result": {func() (any, error) {
			return s.raw.CompleteActivityTask(ctx, &protos.ActivityResponse{InstanceId: "live"})
		}, codes.Unimplemented, "only clients"},
		"a method that is none": {func() (any, error) {
			return nil, s.conn.Invoke(ctx, "/TaskHubSidecarService/QueryEntities", &emptypb.Empty{}, &emptypb.Empty{})
		}, codes.Unimplemented, "QueryEntities"},
		"a service that is none": {func() (any, error) {
			return nil, s.conn.Invoke(ctx, "/dapr.proto.runtime.v1.Dapr/GetMetadata", &emptypb.Empty{}, &emptypb.Empty{})
		}, codes.Unimplemented, "Dapr"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.do()
			if got := status.Convert(err); got.Code() != c.want || !strings.Contains(got.Message(), c.text) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
	if res, err := s.raw.WaitForInstanceCompletion(ctx, &protos.GetInstanceRequest{InstanceId: "x"}); err != nil || res.GetExists() {
		t.Errorf("WaitForInstanceCompletion of an unknown id = %v, %v, want that it does not exist", res, err)
	}
	if res, err := s.raw.PurgeInstances(ctx, purge("x")); err != nil || res.GetDeletedInstanceCount() != 0 {
		t.Errorf("PurgeInstances of an unknown id = %v, %v, want none deleted", res, err)
	}
	s.want(t, "ended", engine.Completed, `"acted"`)
}

// TestShutdownEndsCallsInProgress: a client that waits gets an error with which it
// can retry.
func TestShutdownEndsCallsInProgress(t *testing.T) {
	s := serveClients(t)
	result := make(chan error, 1)
	go func() {
		_, err := s.raw.StartInstance(context.Background(), &protos.CreateInstanceRequest{Name: "takes long", InstanceId: "a"})
		result <- err
	}()
	<-s.under
	require.NoError(t, s.unserve())
	if got := status.Convert(<-result); got.Code() != codes.Unavailable || !strings.Contains(got.Message(), "being stopped") {
		t.Errorf("the call in progress returned %v, want Unavailable with \"being stopped\"", got)
	}
}

func TestShutdownWithASilentConnection(t *testing.T) {
	s := serveClients(t)
	c, err := net.Dial("tcp", s.address)
	require.NoError(t, err)
	defer c.Close()
	began := time.Now()
	require.NoError(t, s.unserve())
	if took := time.Since(began); took > 4*shutdownGrace {
		t.Errorf("Serve returned after %s, want at most %s", took, 4*shutdownGrace)
	}
}

func TestServeOnAClosedListenerFails(t *testing.T) {
	s := serveClients(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	if err := s.Serve(t.Context(), l, nil); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Serve on a closed listener = %v, want an error that names its address", err)
	}
}

// TestLongTextsAreRejected: what a client sends stays in the history.
func TestLongTextsAreRejected(t *testing.T) {
	s := serveClients(t)
	require.NoError(t, s.Start(t.Context(), "waits", "o", ""))
	long := wrapperspb.String(strings.Repeat("x", 100_000))
	_, suspend := s.raw.SuspendInstance(t.Context(), &protos.SuspendRequest{InstanceId: "o", Reason: long})
	_, resume := s.raw.ResumeInstance(t.Context(), &protos.ResumeRequest{InstanceId: "o", Reason: long})
	_, terminate := s.raw.TerminateInstance(t.Context(), &protos.TerminateRequest{InstanceId: "o", Output: long})
	_, raise := s.raw.RaiseEvent(t.Context(), &protos.RaiseEventRequest{InstanceId: "o", Name: "go", Input: long})
	_, name := s.raw.RaiseEvent(t.Context(), &protos.RaiseEventRequest{InstanceId: "o", Name: long.GetValue()})
	for what, err := range map[string]error{"suspend": suspend, "resume": resume, "terminate": terminate, "raise": raise, "name": name} {
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "has 100000 bytes") {
			t.Errorf("%s with 100000 bytes = %v, want InvalidArgument", what, err)
		}
	}
	// Calls of the engine itself shorten them.
	require.NoError(t, s.Suspend(t.Context(), "o", long.GetValue()))
	require.NoError(t, s.Terminate(t.Context(), "o", long.GetValue()))
	if _, err := s.Wait(t.Context(), "o"); err != nil {
		t.Fatal(err)
	}
	events, err := s.History(t.Context(), "o")
	require.NoError(t, err)
	for _, e := range events {
		if len(e.Data) > 2000 {
			t.Errorf("%s has %d bytes of data, want at most 2000", e.Type, len(e.Data))
		}
	}
}
