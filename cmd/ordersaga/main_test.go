package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// asOrdersaga makes the test binary be the program under test, so that tests
// start real processes without building another binary.
const asOrdersaga = "ORDERSAGA_TEST_BE_THE_PROGRAM"

// beforeProgram is what a test does in the process of the program under test,
// before that begins.
var beforeProgram = func() error { return nil }

func TestMain(m *testing.M) {
	if os.Getenv(asOrdersaga) != "" {
		if err := beforeProgram(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(program())
	}
	testkit.UseBuiltDapr()
	goleak.VerifyTestMain(m)
}

// process is one ordersaga process that can be killed and started again with
// the same arguments.
type process struct {
	t    *testing.T
	name string
	args []string
	log  string
	url  string // answers /healthz when it is up
	env  []string
	sys  *syscall.SysProcAttr
	cmd  *exec.Cmd
}

func newProcess(t *testing.T, dir, name, url string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, args: args, log: filepath.Join(dir, name+".log"), url: url}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			b, err := os.ReadFile(p.log)
			t.Logf("--- log of %s (%v)\n%s", name, err, tail(b, 4000))
		}
	})
	return p
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// start starts the process and waits until it answers.
func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the child has its own handle
	p.cmd = exec.Command(os.Args[0], p.args...)
	p.cmd.Env = append(append(os.Environ(), asOrdersaga+"=1", "ORDERSAGA_LOG_FORMAT=json"), p.env...)
	p.cmd.SysProcAttr = p.sys
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	if p.url != "" {
		require.EventuallyNoError(p.t, p.args[0]+" answers", 2*time.Minute, func() error { return get(p.url, io.Discard) })
	}
}

// kill is kill -9: the process gets no chance to do anything.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself; the test sees that elsewhere
	_ = p.cmd.Wait()         // reports the kill
	p.cmd = nil
}

// stop is SIGTERM, and the process must end well.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%s ended with %v after SIGTERM", p.args[0], err)
	}
	p.cmd = nil
}

func get(url string, body io.Writer) error {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // copied to its end
	if _, err := io.Copy(body, res.Body); err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return errors.New(res.Status)
	}
	return nil
}

// freePort finds a port that is free now and likely to stay so.
func freePort(t *testing.T) int {
	t.Helper()
	p, err := daprlocal.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(p[0])
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// ordersaga runs a command in this process.
func ordersaga(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
