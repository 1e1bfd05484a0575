package embedded

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

const crashDir = "EMBEDDED_TEST_CRASH_DIR"

// crashChild starts workflows until it is killed, and compacts and archives all
// the time. Its output is the ledger: one line, in one write(2), for each
// acknowledged effect. The pipe's content survives the process.
func crashChild(dir string) {
	t := &fatal{}
	fsync, err := journal.ParseSync(os.Getenv(crashDir + "_FSYNC"))
	require.NoError(t, err)
	e, err := Open(Options{Dir: dir, Fsync: fsync, Logger: zerolog.Nop()})
	require.NoError(t, err)
	ctx := context.Background()
	go func() { _ = e.Run(ctx, crashRegistry(t, os.Stdout)) }()
	go func() {
		for {
			require.NoError(t, e.store.journal.Compact(e.store.snapshot))
		}
	}()
	go func() {
		for {
			require.NoError(t, e.store.archiveEnded(ctx, time.Now().Add(time.Hour)))
		}
	}()
	prefix := os.Getenv(crashDir + "_PREFIX")
	for n := 0; ; n++ {
		workflow := []string{"Chain", "Listen", "Nap", "Child"}[n%4]
		id := fmt.Sprint(workflow, "-", prefix, "-", n)
		require.NoError(t, e.Start(ctx, workflow, id, nil))
		fmt.Println("started", id)
		if workflow == "Listen" {
			require.NoError(t, e.Raise(ctx, id, "go", id))
			fmt.Println("raised", id)
		}
		go func() {
			if _, err := e.Wait(ctx, id); err == nil {
				fmt.Println("ended", id)
			}
		}()
	}
}

func crashRegistry(t testing.TB, ledger io.Writer) *task.TaskRegistry {
	steps := func(ctx *task.WorkflowContext) (any, error) {
		for n := range 3 {
			if err := ctx.CallActivity("Step", task.WithActivityInput(fmt.Sprint(ctx.ID, "/", n))).Await(nil); err != nil {
				return nil, err
			}
		}
		return "done", nil
	}
	r := workflows(t, map[string]task.Workflow{
		"Chain": steps,
		"Listen": func(ctx *task.WorkflowContext) (any, error) {
			if err := ctx.WaitForSingleEvent("go", -1).Await(nil); err != nil {
				return nil, err
			}
			return steps(ctx)
		},
		"Nap": func(ctx *task.WorkflowContext) (any, error) {
			if err := ctx.CreateTimer(20 * time.Millisecond).Await(nil); err != nil {
				return nil, err
			}
			return steps(ctx)
		},
		"Child": func(ctx *task.WorkflowContext) (any, error) {
			return "done", ctx.CallChildWorkflow("Chain", task.WithChildWorkflowInstanceID(string(ctx.ID)+"-child")).Await(nil)
		},
	})
	err := r.AddActivityN("Step", func(ctx task.ActivityContext) (any, error) {
		var step string
		err := ctx.GetInput(&step)
		_, writeErr := fmt.Fprintln(ledger, "did", step)
		return nil, errors.Join(err, writeErr)
	})
	require.NoError(t, err)
	return r
}

// fatal implements the part of testing.TB that is used outside of a test.
type fatal struct{ testing.TB }

func (*fatal) Helper()        {}
func (*fatal) Fatal(v ...any) { fmt.Fprintln(os.Stderr, v...); os.Exit(1) }

// TestKillAtRandomMoments kills an engine's process 500 times at random moments,
// with each fsync mode in turn. Each time it compares the state on disk with the
// acknowledged effects. At the end all sagas complete.
func TestKillAtRandomMoments(t *testing.T) {
	kills := 500
	if testing.Short() {
		kills = 50
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	l := crashLedger{started: map[string]bool{}, finished: map[string]bool{}, did: map[string]int{}}
	effects := 0
	for round := range kills {
		mode := []string{"group", "always", "off"}[round%3]
		lines := runAndKill(t, dir, mode, fmt.Sprint("r", round), rng)
		effects += len(lines)
		l.check(t, dir, fmt.Sprintf("round %d, fsync=%s", round, mode), lines)
		if t.Failed() {
			return
		}
	}
	e := runEngine(t, crashRegistry(t, io.Discard), Options{Dir: dir})
	// Sagas whose start was not acknowledged complete too, except for those whose
	// event was never sent: at most one per round. On a busy machine thousands are left
	// to do, because a child starts more than it ends before it is killed.
	require.Eventually(t, "all sagas to complete", 5*time.Minute, func() bool {
		st, err := e.Stats(t.Context())
		return err == nil && st.Live <= kills && st.Live == st.Waiting
	})
	for id := range l.started {
		if !l.finished[id] && !strings.HasPrefix(id, "Listen") {
			e.want(t, id, engine.Completed, `"done"`)
			l.finished[id] = true
		}
	}
	repeated := 0
	for _, times := range l.did {
		repeated += times - 1
	}
	t.Logf("%d kills: %d effects of %d workflows; %d steps, %d repetitions", kills, effects, len(l.started), len(l.did), repeated)
	if len(l.finished) < kills || effects < 10*kills {
		t.Errorf("%d workflows finished and %d effects, want at least %d and %d: the processes were killed too early",
			len(l.finished), effects, kills, 10*kills)
	}
}

// runAndKill runs a child until a random line of its output and a random moment
// after it, and returns its output. It counts lines, not time, so that the child does
// as much on a slow machine. One child in ten is killed while it recovers.
func runAndKill(t *testing.T, dir, fsync, prefix string, rng *rand.Rand) []string {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir, crashDir+"_PREFIX="+prefix, crashDir+"_FSYNC="+fsync)
	var errs bytes.Buffer
	child.Stderr = &errs
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	in := bufio.NewReader(out)
	var text strings.Builder
	if rng.IntN(10) > 0 {
		// A child that stops making progress ends with its goroutines on its standard error.
		stuck := time.AfterFunc(time.Minute, func() { _ = child.Process.Signal(syscall.SIGQUIT) })
		defer stuck.Stop()
		for range 1 + rng.IntN(40) {
			line, readErr := in.ReadString('\n')
			text.WriteString(line)
			if readErr != nil {
				break // the child has failed: its standard error has the reason
			}
		}
	}
	time.AfterFunc(time.Duration(rng.IntN(int(20*time.Millisecond))), func() { _ = child.Process.Kill() })
	_, err = in.WriteTo(&text)
	_ = child.Wait() // killed
	if err != nil || errs.Len() > 0 {
		t.Fatalf("%s: read the child's output: error %v, its standard error %q, want neither", prefix, err, errs.String())
	}
	return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
}

// crashLedger collects the acknowledged effects of all children.
type crashLedger struct {
	started, finished map[string]bool
	did               map[string]int
}

// check compares the state of a killed engine with its output, and purges what
// has ended, so that the next check is quick.
func (l *crashLedger) check(t *testing.T, dir, what string, lines []string) {
	t.Helper()
	e, err := Open(Options{Dir: dir, Fsync: journal.SyncOff, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatalf("%s: open after the kill: %v", what, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("%s: %v are left of a compaction (error %v), want none after a start", what, left, err)
	}
	has := func(id, kind, data string) bool {
		i, err := e.store.read(id)
		if err != nil {
			return false
		}
		text := fmt.Sprint(i.snapshotState())
		return strings.Contains(text, kind) && strings.Contains(text, data)
	}
	for _, line := range lines {
		verb, id, _ := strings.Cut(line, " ")
		saga, _, _ := strings.Cut(id, "/")
		i, err := e.Get(t.Context(), saga)
		ok := err == nil
		switch verb {
		case "started":
			l.started[id] = true
		case "raised":
			ok = ok && has(id, "eventRaised", id)
		case "did":
			l.did[id]++
			ok = ok && has(saga, "taskScheduled", id)
		case "ended":
			ok = ok && i.Status == engine.Completed && string(i.Output) == `"done"`
		default:
			continue // no output
		}
		if !ok {
			t.Errorf("%s: %q was acknowledged, but the saga is %s (%v)", what, line, i.Status, err)
		}
	}
	for _, id := range (running{Engine: e}).ids(t) {
		if i, getErr := e.Get(t.Context(), id); getErr == nil && i.Status.Ended() {
			l.finished[id] = true
			for n := range 3 {
				if step := fmt.Sprint(id, "/", n); l.did[step] == 0 && !strings.HasPrefix(id, "Child") {
					t.Errorf("%s: %s has ended without step %d, want it done", what, id, n)
				}
			}
		}
	}
	later := time.Now().Add(time.Hour)
	err = e.store.archiveEnded(t.Context(), later)
	_, expired := e.store.purgeExpired(t.Context(), later)
	if err := errors.Join(err, expired, e.Close()); err != nil {
		t.Fatalf("%s: purge what has ended: %v", what, err)
	}
}
