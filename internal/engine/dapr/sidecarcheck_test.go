package dapr

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestCheckVersionRejectsOldSidecars(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"1.18.0": true, "1.18.2": true, "1.19.0-rc.1": true, "2.0.0": true, "v1.18.0": true, "edge": true,
		"1.17.9": false, "1.18.0-rc.1": false, "0.11.3": false, "": false, "nonsense": false,
	} {
		if err := checkVersion(version); (err == nil) != want {
			t.Errorf("checkVersion(%q) = %v, want success %v", version, err, want)
		}
	}
}

// oldSidecar responds as Dapr 1.14 does.
type oldSidecar struct {
	runtimev1.UnimplementedDaprServer
}

func (oldSidecar) GetMetadata(context.Context, *runtimev1.GetMetadataRequest) (*runtimev1.GetMetadataResponse, error) {
	return &runtimev1.GetMetadataResponse{Id: "ordersaga", ExtendedMetadata: map[string]string{"daprRuntimeVersion": "1.14.4"}}, nil
}

func serve(t *testing.T, l net.Listener) {
	t.Helper()
	server := grpc.NewServer()
	runtimev1.RegisterDaprServer(server, oldSidecar{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

func TestOpenRejectsAnOldSidecar(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serve(t, l)
	_, err = Open(t.Context(), Options{Address: l.Addr().String()})
	incompatible, ok := errors.AsType[*IncompatibleSidecarError](err)
	if !ok || incompatible.Reason != `is Dapr "1.14.4", and must be 1.18.0 or later` {
		t.Errorf("Open = %v, want an IncompatibleSidecarError that names both versions", err)
	}
}

// TestOpenWaitsForALateSidecar: Open continues after the SDK's own time-out.
func TestOpenWaitsForALateSidecar(t *testing.T) {
	t.Setenv("DAPR_CLIENT_TIMEOUT_SECONDS", "1")
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	_, err = Open(t.Context(), Options{Address: address})
	if err == nil || !strings.Contains(err.Error(), "no Dapr sidecar responds at "+address) {
		t.Fatalf("Open without a ConnectTimeout = %v, want an error that names the address", err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := Open(t.Context(), Options{Address: address, ConnectTimeout: time.Minute})
		opened <- err
	}()
	time.Sleep(1500 * time.Millisecond) // longer than one attempt
	l, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	serve(t, l)
	err = <-opened
	if _, ok := errors.AsType[*IncompatibleSidecarError](err); !ok { // so it was reached
		t.Errorf("Open of the late sidecar = %v, want an IncompatibleSidecarError", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Options{Address: "127.0.0.1:1", ConnectTimeout: time.Minute}); err == nil {
		t.Error("Open with a canceled context = nil, want an error")
	}
}
