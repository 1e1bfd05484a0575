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

// program is ordersaga, built by TestMain.
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
	_ = os.RemoveAll(dir) // a folder of the system's temporary ones
	os.Exit(status)
}

// system is a running `ordersaga dev` and a client of its engine.
type system struct {
	api  string // base URL
	hub  *client.TaskHubGrpcClient
	conn *grpc.ClientConn
}

var (
	apiLine  = regexp.MustCompile(`(?m)^  API +(http://\S+)`)
	grpcLine = regexp.MustCompile(`(?m)^  grpc (\S+)(?: \(metadata dapr-api-token: (\S+)\))?\n`)
	noDapr   = regexp.MustCompile(`ORDERSAGA_DAPR_BIN is \S+, and there is no program \S+`)
)

// dev starts everything, until the test's end.
func dev(t *testing.T, flags ...string) system {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(root, "bin"))
	must(t, err)
	args := append([]string{"dev", "--port=0", "--aws-port=0", "--payment-port=0", "--carrier-port=0", "--log-level=error", "--data-dir=" + t.TempDir()}, flags...)
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "ORDERSAGA_DAPR_BIN="+bin)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.SysProcAttr = dieWithParent()
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { // t.Context has ended, which ends the child
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("ordersaga dev ended with %v", err)
		}
		if t.Failed() {
			t.Logf("--- ordersaga dev\n%s", out.String())
		}
	})
	eventually(t, 2*time.Minute, "dev is up", func() error {
		select {
		case err := <-ended:
			ended <- nil // for the cleanup
			if why := noDapr.FindString(out.String()); why != "" {
				leaveOut(t, why+" (make dapr)")
			}
			t.Fatalf("ordersaga dev ended: %v\n%s", err, out.String())
		default:
		}
		if !grpcLine.MatchString(out.String()) {
			return errors.New("no greeting yet")
		}
		return nil
	})

	target := grpcLine.FindStringSubmatch(out.String())
	conn, err := grpc.NewClient(target[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(metadata.AppendToOutgoingContext(ctx, "dapr-api-token", target[2]), method, req, reply, cc, opts...)
		}))
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	return system{api: apiLine.FindStringSubmatch(out.String())[1], conn: conn, hub: client.NewTaskHubGrpcClient(conn, backend.DefaultLogger())}
}

// leaveOut skips a test, but not where everything must run.
func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// status is what ordersaga's own API says of an order.
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

// becomes waits until an order has a status.
func (s system) becomes(t *testing.T, id, want string) {
	t.Helper()
	eventually(t, 30*time.Second, id+" is "+want, func() error {
		got, err := s.status(id)
		if err == nil && got != want {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	})
}

// place sends an order to ordersaga's own API.
func (s system) place(t *testing.T, o map[string]any) {
	t.Helper()
	body, err := json.Marshal(o)
	must(t, err)
	res, err := http.Post(s.api+"/v1/orders", "application/json", bytes.NewReader(body))
	must(t, err)
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(res.Body) // only for the message
		t.Fatalf("place order: %s: %s", res.Status, text)
	}
}

// output is a child's, read while it is written.
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until f succeeds.
func eventually(t *testing.T, within time.Duration, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(within)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-late:
			t.Fatalf("%s: not within %s: %v", what, within, err)
		case <-tick.C:
		}
	}
}
