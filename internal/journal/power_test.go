package journal_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/journal/journaltest"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// ledger is a state machine of counters that also records which values were
// acknowledged.
type ledger struct {
	j  *journal.Journal
	mu sync.Mutex
	// Values by key: 1, 2, 3 …, as appended and as acknowledged.
	now, kept map[string]int
}

func (l *ledger) replay(b []byte) error {
	var v int
	key, text, _ := strings.Cut(string(b), "=")
	if _, err := fmt.Sscan(text, &v); err != nil {
		return err
	}
	l.now[key] = v
	return nil
}

func (l *ledger) open(dir string, sync journal.Sync, fs journal.FS) (err error) {
	l.now, l.kept = map[string]int{}, map[string]int{}
	l.j, err = journal.Open(dir, journal.Options{Sync: sync, FS: fs, Logger: zerolog.Nop()}, l.replay)
	return err
}

func (l *ledger) add(key string, pad int) error {
	l.mu.Lock()
	v := l.now[key] + 1
	l.now[key] = v
	c := l.j.Append([]byte(fmt.Sprint(key, "=", v, strings.Repeat(" ", pad))))
	l.mu.Unlock()
	if err := c.Wait(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[key] = v
	return nil
}

func (l *ledger) compact() error {
	return l.j.Compact(func(emit func([]byte) error) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for key, v := range l.now {
			if err := emit([]byte(fmt.Sprint(key, "=", v))); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *ledger) acknowledged() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.kept)
}

// TestPowerLoss cuts the power at many moments of appends and compactions, in
// two runs of a journal. With fsync=group and fsync=always everything
// acknowledged is still there. With fsync=off a journal opens with an earlier
// state, or reports that it is damaged.
func TestPowerLoss(t *testing.T) {
	seeds := uint64(50)
	if testing.Short() {
		seeds = 20
	}
	for name, mode := range map[string]journal.Sync{"group": journal.SyncGroup, "always": journal.SyncAlways, "off": journal.SyncOff} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := powerTest{mode: mode}
			for seed := range seeds {
				rng := rand.New(rand.NewPCG(seed, 1))
				root := t.TempDir()
				for range 2 {
					next := t.TempDir()
					runAndCut(t, mode, rng, root, func(l *ledger, power *journaltest.Power) {
						to := t.TempDir()
						require.NoError(t, power.Cut(rng, root, to))
						if p.check(t, fmt.Sprint("seed ", seed), l, to) {
							next = to
						}
					})
					root = next
				}
			}
			t.Logf("%d cuts; %d lost something unacknowledged; %d left the log damaged", p.cuts, p.behind, p.damaged)
			if p.behind == 0 {
				t.Error("no cut lost anything, want at least one that does: the simulated power loss has no effect")
			}
		})
	}
}

// powerTest counts what power cuts did to a journal.
type powerTest struct {
	mode                  journal.Sync
	cuts, behind, damaged int
}

// check opens the journal that a power cut left in dir and compares it with what
// l held at that moment. It returns false if the journal is damaged, which only
// fsync=off allows.
func (p *powerTest) check(t *testing.T, at string, l *ledger, dir string) bool {
	t.Helper()
	p.cuts++
	power, err := journaltest.NewPower(dir)
	require.NoError(t, err)
	var after ledger
	err = after.open(filepath.Join(dir, "a", "b"), p.mode, power)
	if corrupt := new(journal.CorruptError); p.mode == journal.SyncOff && errors.As(err, &corrupt) {
		p.damaged++
		return false
	}
	if err != nil {
		t.Fatalf("%s: open after the cut: %v", at, err)
	}
	for key, v := range l.acknowledged() {
		if after.now[key] < v && p.mode != journal.SyncOff {
			t.Errorf("%s: %s = %d, want at least %d, which was acknowledged", at, key, after.now[key], v)
		}
	}
	lost := false
	for key, v := range l.now {
		lost = lost || after.now[key] < v
		if after.now[key] > v {
			t.Errorf("%s: %s = %d, want at most %d, which it never exceeded", at, key, after.now[key], v)
		}
	}
	if lost {
		p.behind++
	}
	if err := after.j.Close(); err != nil {
		t.Errorf("%s: close: %v", at, err)
	}
	return true
}

// runAndCut runs a journal in root/a/b and calls cut at random moments, at which
// no append begins.
func runAndCut(t *testing.T, mode journal.Sync, rng *rand.Rand, root string, cut func(*ledger, *journaltest.Power)) {
	t.Helper()
	power, err := journaltest.NewPower(root)
	require.NoError(t, err)
	var l ledger
	require.NoError(t, l.open(filepath.Join(root, "a", "b"), mode, power))
	for round := range 4 {
		var work sync.WaitGroup
		for n := range 3 {
			work.Go(func() {
				for i := range 8 {
					if err := l.add(fmt.Sprint(round, n, i%4), 100*i); err != nil {
						t.Error(err)
					}
				}
			})
		}
		if rng.IntN(2) == 0 {
			work.Go(func() {
				if err := l.compact(); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
		l.mu.Lock() // acknowledgments before the cut count; appends wait until after it
		kept, was := maps.Clone(l.kept), maps.Clone(l.now)
		at := ledger{kept: kept, now: was}
		cut(&at, power)
		l.mu.Unlock()
		work.Wait()
	}
	if err := l.j.Close(); err != nil {
		t.Error(err)
	}
}
