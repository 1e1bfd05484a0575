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
)

// ledger is a state machine of counters, and what it has been told is kept.
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
// two lives of a journal. With fsync=group and always, what was acknowledged
// is there. With off, a journal opens with something that was, or says that it
// is damaged.
func TestPowerLoss(t *testing.T) {
	seeds := uint64(50)
	if testing.Short() {
		seeds = 20
	}
	for name, mode := range map[string]journal.Sync{"group": journal.SyncGroup, "always": journal.SyncAlways, "off": journal.SyncOff} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cuts, behind, damaged := 0, 0, 0
			for seed := range seeds {
				rng := rand.New(rand.NewPCG(seed, 1))
				root := t.TempDir()
				for range 2 {
					next := t.TempDir()
					life(t, mode, rng, root, func(l *ledger, power *journaltest.Power) {
						cuts++
						to := t.TempDir()
						must, was := l.acknowledged(), maps.Clone(l.now)
						if err := power.Cut(rng, root, to); err != nil {
							t.Fatal(err)
						}
						quick, err := journaltest.NewPower(to)
						if err != nil {
							t.Fatal(err)
						}
						var after ledger
						err = after.open(filepath.Join(to, "a", "b"), mode, quick)
						if corrupt := new(journal.CorruptError); mode == journal.SyncOff && errors.As(err, &corrupt) {
							damaged++
							return
						}
						if err != nil {
							t.Fatalf("seed %d: %v", seed, err)
						}
						for key, v := range must {
							if after.now[key] < v && mode != journal.SyncOff {
								t.Errorf("seed %d: %s is %d, %d was acknowledged", seed, key, after.now[key], v)
							}
						}
						lost := false
						for key, v := range was {
							lost = lost || after.now[key] < v
							if after.now[key] > v {
								t.Errorf("seed %d: %s is %d, it never was more than %d", seed, key, after.now[key], v)
							}
						}
						if lost {
							behind++
						}
						if err := after.j.Close(); err != nil {
							t.Error(err)
						}
						next = to
					})
					root = next
				}
			}
			t.Logf("%d cuts; %d lost what was not acknowledged; %d found the log damaged", cuts, behind, damaged)
			if mode != journal.SyncOff && damaged > 0 || behind == 0 {
				t.Error("that cannot be")
			}
		})
	}
}

// life runs a journal in root/a/b and calls cut at random moments, while no
// append begins.
func life(t *testing.T, mode journal.Sync, rng *rand.Rand, root string, cut func(*ledger, *journaltest.Power)) {
	power, err := journaltest.NewPower(root)
	if err != nil {
		t.Fatal(err)
	}
	var l ledger
	if err := l.open(filepath.Join(root, "a", "b"), mode, power); err != nil {
		t.Fatal(err)
	}
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
		l.mu.Lock() // acknowledgements before the cut count, appends after it do not begin
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
