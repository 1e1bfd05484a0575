package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
)

const crashDir = "EMBEDDED_TEST_CRASH_DIR"

// crashChild starts workflows until it is killed, compacting all the while,
// and says so on its output once each start (and event) is acknowledged.
func crashChild(dir string) {
	t := &fatal{}
	e, err := Open(Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	go func() { _ = e.Run(ctx, enginetest.NewWorld().Registry(t)) }()
	go func() {
		for {
			if err := e.store.journal.Compact(e.store.snapshot); err != nil {
				t.Fatal(err)
			}
		}
	}()
	prefix := os.Getenv(crashDir + "_PREFIX")
	for n := 0; ; n++ {
		id := fmt.Sprint(prefix, "-", n)
		workflow := []string{"Chain", "Fan", "Nap", "Again", "Listen"}[n%5]
		if err := e.Start(ctx, workflow, id, 2); err != nil {
			t.Fatal(err)
		}
		if workflow == "Listen" {
			if err := e.Raise(ctx, id, "go", id); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Println(id)
	}
}

// fatal is enough of a testing.TB outside of a test.
type fatal struct{ testing.TB }

func (*fatal) Helper()        {}
func (*fatal) Fatal(v ...any) { fmt.Fprintln(os.Stderr, v...); os.Exit(1) }

// TestKilled kills an engine's process at random moments. What was
// acknowledged must be there afterwards, and finish.
func TestKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	var acknowledged []string
	for round := range 10 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s_PREFIX=r%d", crashDir, round))
		var out, errs strings.Builder
		child.Stdout, child.Stderr = &out, &errs
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(20*time.Millisecond+time.Duration(rng.Int64N(int64(300*time.Millisecond))), func() { _ = child.Process.Kill() })
		_ = child.Wait() // killed
		timer.Stop()
		if errs.Len() > 0 {
			t.Fatalf("round %d: %s", round, errs.String())
		}
		text := out.String()
		acknowledged = append(acknowledged, strings.Fields(text[:strings.LastIndex(text, "\n")+1])...)
	}
	t.Logf("%d workflows acknowledged", len(acknowledged))
	if len(acknowledged) == 0 {
		t.Fatal("the processes never got to work")
	}
	e := run(t, enginetest.NewWorld(), Options{Dir: dir})
	for _, id := range acknowledged {
		if i := e.wait(t, id); i.Status != engine.Completed {
			t.Errorf("%s is %s: %s", id, i.Status, i.Failure)
		}
	}
	// What was begun and not acknowledged finishes too, but for events that
	// were never sent: one per round at most.
	eventually(t, "nothing is left over", func() bool {
		st, err := e.Stats(t.Context())
		return err == nil && st.Live <= 10 && st.Live == st.Waiting
	})
}
