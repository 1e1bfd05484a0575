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
)

func TestSupportedVersions(t *testing.T) {
	for version, want := range map[string]bool{
		"1.18.0": true, "1.18.2": true, "1.19.0-rc.1": true, "2.0.0": true, "v1.18.0": true, "edge": true,
		"1.17.9": false, "1.18.0-rc.1": false, "0.11.3": false, "": false, "nonsense": false,
	} {
		if err := supported(version); (err == nil) != want {
			t.Errorf("%q: %v", version, err)
		}
	}
}

// oldSidecar answers as Dapr 1.14 does.
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
			t.Error(err)
		}
	})
}

func TestOldSidecarIsRefused(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	_, err = Open(t.Context(), Options{Address: l.Addr().String()})
	if unfit, ok := errors.AsType[*UnfitError](err); !ok || unfit.Reason != `is Dapr "1.14.4", and must be 1.18.0 or later` {
		t.Errorf("%v", err)
	}
}

// TestSidecarThatComesLate, after the SDK has given up: it is waited for.
func TestSidecarThatComesLate(t *testing.T) {
	t.Setenv("DAPR_CLIENT_TIMEOUT_SECONDS", "1")
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Address: address}); err == nil || !strings.Contains(err.Error(), "no Dapr sidecar answers at "+address) {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := Open(t.Context(), Options{Address: address, Patience: time.Minute})
		opened <- err
	}()
	time.Sleep(1500 * time.Millisecond) // longer than one try
	if l, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address); err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	if _, ok := errors.AsType[*UnfitError](<-opened); !ok { // it was reached
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Options{Address: "127.0.0.1:1", Patience: time.Minute}); err == nil {
		t.Error("opened")
	}
}
