package daprlocal

import (
	"bytes"
	"context"
	"errors"
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
)

// fakeIn makes the test binary be a process of Dapr's: the folder in it says
// how it is doing.
const fakeIn = "ORDERSAGA_TEST_FAKE_DAPR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(fakeIn); dir != "" {
		fake(dir, os.Args[1])
	}
	os.Exit(m.Run())
}

func fake(dir, address string) {
	is := func(what string) bool { _, err := os.Stat(filepath.Join(dir, what)); return err == nil }
	if is("storeless") {
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

// watched is a fake process that is watched, with short pauses.
func watched(t *testing.T, w pauses) (p *process, set func(how string, is bool), log *lines) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, dir, log := l.Addr().String(), t.TempDir(), new(lines)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p = &process{name: "daprd one", health: "http://" + address, binary: self, args: []string{address}, env: append(os.Environ(), fakeIn+"="+dir)}
	c := &Cluster{opt: Options{Logger: zerolog.New(log).Level(zerolog.InfoLevel)}}
	if err := p.start(c.opt.Logger); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(time.Second) })
	if err := p.healthyWithin(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { c.watch(ctx, p, w); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return p, func(how string, is bool) {
		file := filepath.Join(dir, how)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if !is {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
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

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	late := time.Now().Add(20 * time.Second)
	for err := f(); err != nil; err = f() {
		if time.Now().After(late) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// says waits until the log has said it n times.
func (l *lines) says(t *testing.T, n int, what string) {
	t.Helper()
	eventually(t, "the log says "+what, func() error {
		if got := strings.Count(l.String(), what); got < n {
			return fmt.Errorf("%d times of %d:\n%s", got, n, l)
		}
		return nil
	})
}

func crash(t *testing.T, p *process) {
	t.Helper()
	if err := p.now().cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

// TestWatchGoesOn: a sidecar that ends at once for as long as its store is
// away is up again when that is back, and not tried all the time.
func TestWatchGoesOn(t *testing.T) {
	p, set, log := watched(t, pauses{time.Millisecond, 8 * time.Millisecond, time.Minute, 10 * time.Second})
	set("storeless", true)
	crash(t, p)
	log.says(t, 10, "daprd one ended before it was up: Failed to init component statestore: connection refused")
	for _, pause := range []string{"1ms", "2ms", "4ms"} {
		if strings.Count(log.String(), `"again_in":"`+pause) != 1 {
			t.Errorf("not one pause of %s:\n%s", pause, log)
		}
	}
	set("storeless", false)
	log.says(t, 1, "started again")
	eventually(t, "it is up", func() error {
		if !answers(t.Context(), p.health) {
			return errors.New("it does not answer")
		}
		return nil
	})
}

// TestWatchForgets: one that has been up for long is started again soon.
func TestWatchForgets(t *testing.T) {
	p, _, log := watched(t, pauses{time.Millisecond, time.Hour, 0, 10 * time.Second})
	for n := range 5 {
		crash(t, p)
		log.says(t, n+1, "started again")
	}
	if strings.Count(log.String(), `"again_in":"1ms"`) != 5 {
		t.Errorf("pauses:\n%s", log)
	}
}

// TestWatchEndsWhatHangs: one that does not come up is ended and started anew.
func TestWatchEndsWhatHangs(t *testing.T) {
	p, set, log := watched(t, pauses{time.Millisecond, time.Millisecond, time.Minute, 500 * time.Millisecond})
	set("hanging", true)
	crash(t, p)
	log.says(t, 1, "daprd one is not healthy: it said nothing (not within 500ms)")
	set("hanging", false)
	log.says(t, 1, "started again")
}

// TestWatchLeavesAlone: what was meant to end stays so.
func TestWatchLeavesAlone(t *testing.T) {
	p, _, log := watched(t, pauses{time.Millisecond, time.Millisecond, time.Minute, 10 * time.Second})
	p.kill()
	time.Sleep(300 * time.Millisecond) // the watch looks every 100 ms
	if answers(t.Context(), p.health) || log.String() != "" {
		t.Errorf("it runs:\n%s", log)
	}
}

// TestMisreadFile: daprd says that it cannot use a file, and goes on without.
func TestMisreadFile(t *testing.T) {
	p, set, log := watched(t, pauses{time.Millisecond, time.Millisecond, time.Minute, 10 * time.Second})
	set("misread", true)
	crash(t, p)
	log.says(t, 2, `daprd one: Could not read resiliency policy ordersaga: invalid duration \"payment\", 10 parsecs`)
	set("misread", false)
	log.says(t, 1, "started again")
}

// TestEnded: a sidecar that answers and then ends says why.
func TestEnded(t *testing.T) {
	p, set, log := watched(t, pauses{time.Hour, time.Hour, time.Minute, 10 * time.Second})
	c := &Cluster{procs: []*process{p}}
	if err := c.Ended(0); err != nil {
		t.Error(err)
	}
	set("storeless", true)
	crash(t, p)
	log.says(t, 1, "is not up")
	if err := c.Ended(time.Second); err == nil || !strings.Contains(err.Error(), "daprd one ended: ") {
		t.Error(err)
	}
}
