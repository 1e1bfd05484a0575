package daprlocal

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// fakeIn is a variable that makes the test binary act as one of Dapr's processes.
// The files in the folder that it names control the process.
const fakeIn = "ORDERSAGA_TEST_FAKE_DAPR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(fakeIn); dir != "" {
		fake(dir, os.Args[1])
	}
	os.Exit(m.Run())
}

func fake(dir, address string) {
	is := func(what string) bool {
		_, err := os.Stat(filepath.Join(dir, what))
		return err == nil
	}
	if is("no-store") {
		fmt.Println(`level=fatal msg="Failed to init component statestore: connection refused" scope=dapr`)
		os.Exit(1)
	}
	if is("hanging") {
		time.Sleep(time.Hour)
	}
	if is("misread") {
		fmt.Println(`level=error msg="Could not read resiliency policy ordersaga: invalid duration \"payment\", 10 parsecs" scope=dapr.runtime`)
	}
	panic(http.ListenAndServe(address, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
}

// watchFake starts and watches a fake process. set switches a fault of it on or off.
func watchFake(t *testing.T, w restartPolicy) (p *process, set func(how string, is bool), log *lines) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address, dir, log := l.Addr().String(), t.TempDir(), new(lines)
	require.NoError(t, l.Close())
	self, err := os.Executable()
	require.NoError(t, err)
	p = &process{
		name: "daprd one", health: "http://" + address, binary: self, args: []string{address},
		env: append(os.Environ(), fakeIn+"="+dir),
	}
	c := &Cluster{opt: Options{Logger: zerolog.New(log).Level(zerolog.InfoLevel)}}
	require.NoError(t, p.start(c.opt.Logger))
	t.Cleanup(func() { p.stop(time.Second) })
	require.NoError(t, p.healthyWithin(t.Context(), 10*time.Second))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { c.watch(ctx, p, w); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return p, func(how string, is bool) {
		file := filepath.Join(dir, how)
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		if !is {
			require.NoError(t, os.Remove(file))
		}
	}, log
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until the log contains a text n times.
func (l *lines) await(t *testing.T, n int, text string) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", l)
		}
	})
	require.Eventually(t, fmt.Sprintf("%d log lines with %q", n, text), 20*time.Second, func() bool {
		return strings.Count(l.String(), text) >= n
	})
}

func crash(t *testing.T, p *process) {
	t.Helper()
	require.NoError(t, p.current().cmd.Process.Kill())
}

// TestWatchBacksOffAndDoesNotGiveUp: a sidecar that exits at once while its store
// is unavailable is restarted with growing pauses, and is up when the store is.
func TestWatchBacksOffAndDoesNotGiveUp(t *testing.T) {
	p, set, log := watchFake(t, restartPolicy{
		minPause: time.Millisecond, maxPause: 8 * time.Millisecond, resetAfter: time.Minute, startTimeout: 10 * time.Second,
	})
	set("no-store", true)
	crash(t, p)
	log.await(t, 10, "daprd one ended before it was up: Failed to init component statestore: connection refused")
	for _, pause := range []string{"1ms", "2ms", "4ms"} {
		if strings.Count(log.String(), `"again_in":"`+pause) != 1 {
			t.Errorf("want one pause of %s in the log:\n%s", pause, log)
		}
	}
	set("no-store", false)
	log.await(t, 1, "restarted")
	require.Eventually(t, "the process to be up", 20*time.Second, func() bool { return responds(t.Context(), p.health) })
}

// TestWatchResetsThePause: a process that has been up for long is restarted soon.
func TestWatchResetsThePause(t *testing.T) {
	p, _, log := watchFake(t, restartPolicy{
		minPause: time.Millisecond, maxPause: time.Hour, resetAfter: 0, startTimeout: 10 * time.Second,
	})
	for n := range 5 {
		crash(t, p)
		log.await(t, n+1, "restarted")
	}
	if strings.Count(log.String(), `"again_in":"1ms"`) != 5 {
		t.Errorf("want five pauses of 1ms in the log:\n%s", log)
	}
}

// TestWatchKillsAHangingProcess: a process that does not come up is killed and
// restarted.
func TestWatchKillsAHangingProcess(t *testing.T) {
	p, set, log := watchFake(t, restartPolicy{
		minPause: time.Millisecond, maxPause: time.Millisecond, resetAfter: time.Minute, startTimeout: 500 * time.Millisecond,
	})
	set("hanging", true)
	crash(t, p)
	log.await(t, 1, "daprd one is not healthy: it wrote no log (not within 500ms)")
	set("hanging", false)
	log.await(t, 1, "restarted")
}

// TestWatchDoesNotRestartAfterKill: a requested exit is final.
func TestWatchDoesNotRestartAfterKill(t *testing.T) {
	p, _, log := watchFake(t, restartPolicy{
		minPause: time.Millisecond, maxPause: time.Millisecond, resetAfter: time.Minute, startTimeout: 10 * time.Second,
	})
	p.kill()
	time.Sleep(300 * time.Millisecond) // watch checks every 100 ms
	if responds(t.Context(), p.health) || log.String() != "" {
		t.Errorf("the killed process runs again, or was logged, want neither:\n%s", log)
	}
}

// TestUnusableFileIsAnError: daprd only logs that it cannot use a file, and
// continues without it.
func TestUnusableFileIsAnError(t *testing.T) {
	p, set, log := watchFake(t, restartPolicy{
		minPause: time.Millisecond, maxPause: time.Millisecond, resetAfter: time.Minute, startTimeout: 10 * time.Second,
	})
	set("misread", true)
	crash(t, p)
	log.await(t, 2, `daprd one: Could not read resiliency policy ordersaga: invalid duration \"payment\", 10 parsecs`)
	set("misread", false)
	log.await(t, 1, "restarted")
}

// TestUnexpectedExitReportsTheReason of a sidecar that was up.
func TestUnexpectedExitReportsTheReason(t *testing.T) {
	p, set, log := watchFake(t, restartPolicy{
		minPause: time.Hour, maxPause: time.Hour, resetAfter: time.Minute, startTimeout: 10 * time.Second,
	})
	c := &Cluster{procs: []*process{p}}
	if err := c.UnexpectedExit(0); err != nil {
		t.Errorf("UnexpectedExit of a running process = %v, want nil", err)
	}
	set("no-store", true)
	crash(t, p)
	log.await(t, 1, "is not up")
	if err := c.UnexpectedExit(time.Second); err == nil || !strings.Contains(err.Error(), "daprd one ended: ") {
		t.Errorf("UnexpectedExit = %v, want the reason", err)
	}
}
