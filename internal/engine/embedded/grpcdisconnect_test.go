package embedded

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api/protos"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestWaitsOfClientsThatDisconnectEnd: the connections are reset in the middle of a
// wait for a workflow that goes on.
func TestWaitsOfClientsThatDisconnectEnd(t *testing.T) {
	const rounds, waits = 10, 5
	s := serveClients(t)
	s.schedule(t, "waits", "w")
	s.becomes(t, "w", engine.Running)
	before := runtime.NumGoroutine()
	for range rounds {
		opened := make(chan *net.TCPConn, 1)
		var dials atomic.Int32
		c, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
				if dials.Add(1) > 1 {
					return nil, net.ErrClosed // a call that was not sent yet would be repeated
				}
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
				if tcp, is := conn.(*net.TCPConn); is {
					opened <- tcp
				}
				return conn, err
			}))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		var calls sync.WaitGroup
		for range waits {
			calls.Go(func() {
				_, err := protos.NewTaskHubSidecarServiceClient(c).WaitForInstanceCompletion(ctx, &protos.GetInstanceRequest{InstanceId: "w"})
				if err == nil || ctx.Err() != nil {
					t.Errorf("WaitForInstanceCompletion over a connection that is reset = %v, want an error at once", err)
				}
			})
		}
		conn := <-opened
		waitUntil(t, "the server to have the calls", func() bool { return runtime.NumGoroutine() >= before+3*waits })
		require.NoError(t, conn.SetLinger(0), conn.Close())
		calls.Wait()
		cancel()
		require.NoError(t, c.Close())
	}
	waitUntil(t, "the server's goroutines to end", func() bool { return runtime.NumGoroutine() < before+waits })
}
