package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/journal/journaltest"
)

// told is what an engine has said to the world, by saga.
type told struct {
	mu    sync.Mutex
	all   []promise
	pause sync.RWMutex // held for writing, nothing new begins
}

type promise struct{ id, what string }

func (p *told) add(id, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, promise{id, what})
}

// TestPowerLoss cuts the power at random moments of a busy engine that
// compacts all the time. With fsync=group and always, starts and events that
// were acknowledged, ends that were seen and steps that were begun are there
// afterwards. With off, the state is one that was, if need be after a repair.
func TestPowerLoss(t *testing.T) {
	for name, mode := range map[string]journal.Sync{"group": journal.SyncGroup, "always": journal.SyncAlways, "off": journal.SyncOff} {
		t.Run(name, func(t *testing.T) { losePower(t, mode) })
	}
}

func losePower(t *testing.T, mode journal.Sync) {
	cuts, seed := 100, uint64(time.Now().UnixNano())
	if testing.Short() {
		cuts = 20
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	root := t.TempDir()
	power, err := journaltest.NewPower(root)
	if err != nil {
		t.Fatal(err)
	}
	e, err := open(Options{Dir: filepath.Join(root, "engine"), Fsync: mode, Logger: zerolog.Nop()}, power)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	registry, said := enginetest.NewWorld().Registry(t), &told{}
	var busy sync.WaitGroup
	busy.Go(func() { _ = e.Run(ctx, registry) })
	defer busy.Wait()
	defer cancel()
	for n := range 8 {
		busy.Go(func() { work(ctx, e.Client, said, fmt.Sprint("w", n)) })
	}
	busy.Go(func() {
		for ctx.Err() == nil {
			if err := e.store.journal.Compact(e.store.snapshot); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	repaired := 0
	for range cuts {
		time.Sleep(time.Duration(rng.IntN(5000)) * time.Microsecond)
		said.mu.Lock()
		must := said.all
		said.mu.Unlock()
		to := t.TempDir()
		if err := power.Cut(rng, root, to); err != nil {
			t.Fatal(err)
		}
		if mode == journal.SyncOff {
			must = nil
		}
		said.pause.Lock() // or there would be too much to recover
		repaired += recovered(t, filepath.Join(to, "engine"), must, mode)
		said.pause.Unlock()
	}
	cancel()
	busy.Wait()
	t.Logf("%d promises before the last of %d cuts, %d repairs", len(said.all), cuts, repaired)
	if err := e.Close(); err != nil || len(said.all) < cuts {
		t.Errorf("%d promises; close: %v", len(said.all), err)
	}
}

// work starts sagas and says what it has been told about them.
func work(ctx context.Context, c engine.Client, said *told, prefix string) {
	for n := 0; ctx.Err() == nil; n++ {
		workflow := []string{"Chain", "Child", "Listen", "Again"}[n%4]
		id := fmt.Sprint(workflow, "-", prefix, "-", n)
		said.pause.RLock()   // for a moment
		said.pause.RUnlock() //nolint:staticcheck // it is what there is to do
		if c.Start(ctx, workflow, id, 2) != nil {
			return
		}
		said.add(id, "started")
		if workflow == "Listen" {
			if c.Raise(ctx, id, "go", "x") != nil {
				return
			}
			said.add(id, "raised")
		}
		if _, err := c.Wait(ctx, id); err != nil {
			return
		}
		said.add(id, "ended")
	}
}

// recovered opens what a power cut has left, and checks it. It returns 1 if it
// had to be repaired.
func recovered(t *testing.T, dir string, must []promise, mode journal.Sync) (repairs int) {
	t.Helper()
	quick, err := journaltest.NewPower(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: dir, Logger: zerolog.Nop()}
	e, err := open(o, quick)
	if corrupt := new(journal.CorruptError); mode == journal.SyncOff && errors.As(err, &corrupt) {
		if _, err := Repair(dir); err != nil {
			t.Fatal(err)
		}
		repairs = 1
		e, err = Open(o)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range must {
		i, err := e.Get(t.Context(), p.id)
		ok := err == nil
		switch p.what {
		case "ended":
			ok = ok && i.Status == engine.Completed
		case "raised":
			e.store.mu.Lock()
			s, _ := e.store.instances.Get(p.id)
			ok = ok && (len(s.inbox) > 0 || i.Status == engine.Completed || strings.Contains(fmt.Sprint(s.look().history), "eventRaised"))
			e.store.mu.Unlock()
		}
		if !ok {
			t.Errorf("%s was acknowledged as %s; it is %s, %v", p.id, p.what, i.Status, err)
		}
	}
	e.store.instances.Scan(func(id string, i *instance) bool {
		for _, h := range i.look().history {
			if c := h.GetChildWorkflowInstanceCreated(); c != nil && e.store.seqOf(c.GetInstanceId()) == 0 {
				t.Errorf("%s has begun %s, which is not there", id, c.GetInstanceId())
			}
		}
		return true
	})
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	return repairs
}
