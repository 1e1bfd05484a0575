package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/journal/journaltest"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// acknowledgments collects what an engine has acknowledged.
type acknowledgments struct {
	mu    sync.Mutex
	all   []acknowledgment
	pause sync.RWMutex // while it is write-locked, no saga is started
}

type acknowledgment struct{ id, what string }

func (a *acknowledgments) add(id, what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, acknowledgment{id: id, what: what})
}

// TestPowerLoss cuts the power at random moments of a busy engine that compacts and
// archives all the time. With fsync=group and fsync=always, everything acknowledged is
// there afterwards: starts, events, ends and started children. With fsync=off the
// state is an earlier one, after a repair if necessary.
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
	require.NoError(t, err)
	e, err := open(Options{Dir: filepath.Join(root, "engine"), Fsync: mode, Logger: zerolog.Nop()}, power)
	require.NoError(t, err)
	power.Also = func(to string) error { // bbolt's transactions are durable one by one
		return e.store.archive.db.View(func(tx *bolt.Tx) error {
			err := tx.CopyFile(filepath.Join(to, "engine", archiveName), 0o600)
			if errors.Is(err, fs.ErrNotExist) { // the directory is lost
				return nil
			}
			return err
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	registry, acked := enginetest.NewWorld().Registry(t), &acknowledgments{}
	var busy sync.WaitGroup
	busy.Go(func() { _ = e.Run(ctx, registry) })
	defer busy.Wait()
	defer cancel()
	for n := range 8 {
		busy.Go(func() { work(ctx, e.Client, acked, fmt.Sprint("w", n)) })
	}
	busy.Go(func() {
		for ctx.Err() == nil {
			if err := e.store.journal.Compact(e.store.snapshot); err != nil {
				t.Errorf("compact: %v", err)
			}
			if err := e.store.archiveEnded(ctx, time.Now().Add(time.Hour)); err != nil && ctx.Err() == nil {
				t.Errorf("archive: %v", err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	repaired := 0
	for range cuts {
		time.Sleep(time.Duration(rng.IntN(5000)) * time.Microsecond)
		acked.mu.Lock()
		must := acked.all
		acked.mu.Unlock()
		to := t.TempDir()
		require.NoError(t, power.Cut(rng, root, to))
		if mode == journal.SyncOff {
			must = nil
		}
		acked.pause.Lock() // otherwise there would be too much to recover
		repaired += checkRecovery(t, filepath.Join(to, "engine"), must, mode)
		acked.pause.Unlock()
	}
	cancel()
	busy.Wait()
	archived := 0
	require.NoError(t, e.store.archive.view(func(sagas, _ *bolt.Bucket) error { archived = sagas.Stats().KeyN; return nil }))
	t.Logf("%d acknowledgments before the last of %d cuts, %d repairs, %d sagas archived", len(acked.all), cuts, repaired, archived)
	if archived == 0 {
		t.Error("no saga was archived, want some")
	}
	if err := e.Close(); err != nil || len(acked.all) < cuts {
		t.Errorf("%d acknowledgments, want at least %d; close: %v", len(acked.all), cuts, err)
	}
}

// work starts sagas and records what was acknowledged.
func work(ctx context.Context, c engine.Client, acked *acknowledgments, prefix string) {
	for n := 0; ctx.Err() == nil; n++ {
		workflow := []string{"Chain", "Child", "Listen", "Again"}[n%4]
		id := fmt.Sprint(workflow, "-", prefix, "-", n)
		acked.pause.RLock()   // waits for the end of a pause
		acked.pause.RUnlock() //nolint:staticcheck // the empty critical section is that wait
		if c.Start(ctx, workflow, id, 2) != nil {
			return
		}
		acked.add(id, "started")
		if workflow == "Listen" {
			if c.Raise(ctx, id, "go", "x") != nil {
				return
			}
			acked.add(id, "raised")
		}
		if _, err := c.Wait(ctx, id); err != nil {
			return
		}
		acked.add(id, "ended")
	}
}

// checkRecovery opens what a power cut has left, and checks that it has all of
// must. It returns 1 if a repair was necessary.
func checkRecovery(t *testing.T, dir string, must []acknowledgment, mode journal.Sync) (repairs int) {
	t.Helper()
	power, err := journaltest.NewPower(filepath.Dir(dir))
	require.NoError(t, err)
	o := Options{Dir: dir, Logger: zerolog.Nop()}
	e, err := open(o, power)
	if corrupt := new(journal.CorruptError); mode == journal.SyncOff && errors.As(err, &corrupt) {
		if _, err := Repair(dir); err != nil {
			t.Fatal(err)
		}
		repairs = 1
		e, err = Open(o)
	}
	require.NoError(t, err)
	for _, p := range must {
		i, err := e.Get(t.Context(), p.id)
		ok := err == nil
		switch p.what {
		case "ended":
			ok = ok && i.Status == engine.Completed
		case "raised":
			e.store.mu.Lock()
			s, _ := e.store.instances.Get(p.id)
			ok = ok && (i.Status == engine.Completed || // it may be in the archive
				s != nil && (len(s.inbox) > 0 || strings.Contains(fmt.Sprint(s.view().history), "eventRaised")))
			e.store.mu.Unlock()
		}
		if !ok {
			t.Errorf("%s was acknowledged as %s, but is %s (%v)", p.id, p.what, i.Status, err)
		}
	}
	e.store.instances.Scan(func(id string, i *instance) bool {
		for _, h := range i.view().history {
			c := h.GetChildWorkflowInstanceCreated()
			if c == nil {
				continue
			}
			if _, err := e.Get(t.Context(), c.GetInstanceId()); err != nil {
				t.Errorf("%s has started its child %s, which is lost (%v), want it in the store", id, c.GetInstanceId(), err)
			}
		}
		return true
	})
	if err := e.Close(); err != nil {
		t.Errorf("close after the cut: %v", err)
	}
	return repairs
}
