package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/microsoft/durabletask-go/backend"
	"github.com/microsoft/durabletask-go/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

const root = "../.."

// program is the path of the ordersaga binary that TestMain builds.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ordersaga-interop-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "ordersaga")
	build := exec.Command("go", "build", "-o", program, "./cmd/ordersaga")
	build.Dir, build.Stderr = root, os.Stderr
	status := 1
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build ordersaga:", err)
	} else {
		status = m.Run()
	}
	_ = os.RemoveAll(dir) // in the system's directory for temporary files
	os.Exit(status)
}

// system is a running `ordersaga dev`, and a client of its engine.
type system struct {
	api  string // base URL
	hub  *client.TaskHubGrpcClient
	conn *grpc.ClientConn
}

var (
	apiLine  = regexp.MustCompile(`(?m)^  API +(http://\S+)`)
	grpcLine = regexp.MustCompile(`(?m)^  grpc (\S+)(?: \(metadata dapr-api-token: (\S+)\))?\n`)
	noDapr   = regexp.MustCompile(`ORDERSAGA_DAPR_BIN is \S+,.*program.*`)
)

// dev starts `ordersaga dev` and stops it at the end of the test.
func dev(t *testing.T, flags ...string) system {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(root, "bin"))
	noError(t, err)
	args := append([]string{
		"dev", "--port=0", "--aws-port=0", "--payment-port=0", "--carrier-port=0", "--log-level=error", "--data-dir=" + t.TempDir(),
	}, flags...)
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "ORDERSAGA_DAPR_BIN="+bin)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.SysProcAttr = killWithParent()
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	noError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { // t.Context has ended, which terminates the child process
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("ordersaga dev failed: %v", err)
		}
		if t.Failed() {
			t.Logf("--- ordersaga dev\n%s", out.String())
		}
	})
	poll(t, 2*time.Minute, "ordersaga dev is ready", func() error {
		select {
		case err := <-ended:
			ended <- nil // the cleanup receives it
			if why := noDapr.FindString(out.String()); why != "" {
				skipOrFail(t, why+" (make dapr)")
			}
			t.Fatalf("ordersaga dev exited before it was ready: %v\n%s", err, out.String())
		default:
		}
		if !grpcLine.MatchString(out.String()) {
			return errors.New("it has not printed the address of its gRPC server")
		}
		return nil
	})

	target := grpcLine.FindStringSubmatch(out.String())
	addToken := func(
		ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		return invoke(metadata.AppendToOutgoingContext(ctx, "dapr-api-token", target[2]), method, req, reply, cc, opts...)
	}
	conn, err := grpc.NewClient(target[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(addToken))
	noError(t, err)
	t.Cleanup(func() { noError(t, conn.Close()) })
	return system{
		api: apiLine.FindStringSubmatch(out.String())[1], conn: conn, hub: client.NewTaskHubGrpcClient(conn, backend.DefaultLogger()),
	}
}

// skipOrFail skips the test; with CI=true it fails it, because there every test must run.
func skipOrFail(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("with CI=true every test must run: " + why)
	}
	t.Skip(why)
}

// status returns the status of an order in ordersaga's own API.
func (s system) status(id string) (string, error) {
	res, err := http.Get(s.api + "/v1/sagas/" + id)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", errors.New(res.Status)
	}
	var saga struct{ Status string }
	return saga.Status, json.NewDecoder(res.Body).Decode(&saga)
}

// waitForStatus waits until an order has a status.
func (s system) waitForStatus(t *testing.T, id, want string) {
	t.Helper()
	poll(t, 30*time.Second, id+" is "+want, func() error {
		got, err := s.status(id)
		if err == nil && got != want {
			err = fmt.Errorf("its status is %q", got)
		}
		return err
	})
}

// place places an order through ordersaga's own API.
func (s system) place(t *testing.T, o map[string]any) {
	t.Helper()
	body, err := json.Marshal(o)
	noError(t, err)
	res, err := http.Post(s.api+"/v1/orders", "application/json", bytes.NewReader(body))
	noError(t, err)
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(res.Body) // an incomplete text is good enough for the message
		t.Fatalf("place order: status %s, want one below 300: %s", res.Status, text)
	}
}

// output collects the output of a child process. It is safe for concurrent use.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// This module does not depend on ordersaga's, so it cannot use its testkit.

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// poll calls f until it returns nil, and stops the test if that takes longer than within.
func poll(t *testing.T, within time.Duration, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(within)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("timed out after %s waiting for: %s: %v", within, what, err)
		case <-tick.C:
		}
	}
}
