package coalesce_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/coalesce"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a service that doubles numbers and answers when it is let.
type gate struct {
	open  chan struct{}
	sizes chan int // of each request, as it comes in
}

func newGate() gate { return gate{make(chan struct{}), make(chan int, 100)} }

func (g gate) caller(maximum int) *coalesce.Batcher[int, int] {
	return &coalesce.Batcher[int, int]{
		Max: maximum,
		Single: func(ctx context.Context, n int) (int, error) {
			g.sizes <- 1
			return 2 * n, g.wait(ctx)
		},
		Batch: func(ctx context.Context, ns []int) ([]coalesce.Result[int], error) {
			g.sizes <- len(ns)
			answers := make([]coalesce.Result[int], len(ns))
			for i, n := range ns {
				answers[i] = coalesce.Result[int]{Out: 2 * n, Done: true}
			}
			return answers, g.wait(ctx)
		},
	}
}

func (g gate) wait(ctx context.Context) error {
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) seen() (sizes []int) {
	for len(g.sizes) > 0 {
		sizes = append(sizes, <-g.sizes)
	}
	return sizes
}

func TestCallsInProgressShareARequest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		calls int
		first string // requests before any answer
		all   string
	}{
		{1, "[1]", "[1]"},
		{2, "[1]", "[1 1]"},
		{4, "[1]", "[1 3]"},
		{5, "[1 4]", "[1 4]"},        // a full one does not wait
		{12, "[1 4 4]", "[1 4 4 3]"}, // the rest does
	} {
		t.Run(strconv.Itoa(tt.calls), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				c := g.caller(4)
				for n := range tt.calls {
					go func() {
						if got, err := c.Do(t.Context(), n); got != 2*n || err != nil {
							t.Errorf("Do(%d) = %d, error %v, want %d", n, got, err, 2*n)
						}
					}()
					synctest.Wait()
				}
				first := g.seen()
				close(g.open)
				synctest.Wait()
				all := slices.Concat(first, g.seen())
				if fmt.Sprint(first) != tt.first || fmt.Sprint(all) != tt.all {
					t.Errorf("requests of %v calls, then %v; want %s, then %s", first, all, tt.first, tt.all)
				}
			})
		})
	}
}

// A request that is stuck delays the calls that have gathered behind it for a moment,
// and no call after them.
func TestStuckRequestDelaysOthersForAMomentOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := g.caller(4)
		one := c.Single
		c.Single = func(ctx context.Context, n int) (int, error) {
			if n == 0 { // is stuck until the test ends
				return one(ctx, n)
			}
			g.sizes <- 1
			return 2 * n, nil
		}
		c.Batch = func(_ context.Context, ns []int) ([]coalesce.Result[int], error) {
			g.sizes <- len(ns)
			return []coalesce.Result[int]{{Out: 2 * ns[0], Done: true}, {Out: 2 * ns[1], Done: true}}, nil
		}
		go c.Do(t.Context(), 0)
		synctest.Wait()
		do := func(n int, within time.Duration) {
			began := time.Now()
			if got, err := c.Do(t.Context(), n); got != 2*n || err != nil || time.Since(began) > within {
				t.Errorf("Do(%d) = %d, error %v after %s, want %d within %s", n, got, err, time.Since(began), 2*n, within)
			}
		}
		go do(1, 50*time.Millisecond)
		synctest.Wait()
		do(2, 50*time.Millisecond)
		do(3, 0)
		if got := fmt.Sprint(g.seen()); got != "[1 2 1]" {
			t.Errorf("calls per request = %s, want [1 2 1]", got)
		}
	})
}

// TestPanicReachesEveryCallerOfTheRequest also checks that the process survives it.
func TestPanicReachesEveryCallerOfTheRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := g.caller(4)
		c.Batch = func(context.Context, []int) ([]coalesce.Result[int], error) { panic("broken") }
		go c.Do(t.Context(), 0) // in the others' way
		synctest.Wait()
		for range 4 {
			go func() {
				defer func() {
					if p := recover(); p != "broken" {
						t.Errorf("recovered %v, want the panic of Batch: broken", p)
					}
				}()
				got, err := c.Do(t.Context(), 1)
				t.Errorf("answered %d %v", got, err)
			}()
		}
		synctest.Wait()
		close(g.open)
		if got, err := c.Do(t.Context(), 2); got != 4 || err != nil {
			t.Errorf("Do(2) afterwards = %d, error %v, want 4", got, err)
		}
	})
}

func TestCallOfAnEndedContextIsNotMade(t *testing.T) {
	t.Parallel()
	g := newGate()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := g.caller(2).Do(ctx, 1); !errors.Is(err, context.Canceled) || len(g.sizes) > 0 {
		t.Errorf("Do = %d, error %v after %d requests, want %v and none", got, err, len(g.sizes), context.Canceled)
	}
}

// A call that fails in a batch is made again by itself.
func TestFailedBatchIsMadeCallByCall(t *testing.T) {
	t.Parallel()
	bad := errors.New("not this one")
	for what, many := range map[string]func([]int) ([]coalesce.Result[int], error){
		"all":     func([]int) ([]coalesce.Result[int], error) { return nil, bad },
		"nothing": func([]int) ([]coalesce.Result[int], error) { return nil, nil },
		"one": func(ns []int) ([]coalesce.Result[int], error) {
			answers := make([]coalesce.Result[int], len(ns))
			for i, n := range ns {
				answers[i] = coalesce.Result[int]{Out: n, Done: n != 2}
			}
			return answers, nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open := make(chan struct{})
				c := &coalesce.Batcher[int, int]{
					Max: 10,
					Single: func(_ context.Context, n int) (int, error) {
						<-open
						if n == 2 {
							return 0, bad
						}
						return n, nil
					},
					Batch: func(_ context.Context, ns []int) ([]coalesce.Result[int], error) { return many(ns) },
				}
				for n := range 4 {
					go func() {
						got, err := c.Do(t.Context(), n)
						if n == 2 && !errors.Is(err, bad) || n != 2 && (got != n || err != nil) {
							t.Errorf("Do(%d) = %d, error %v, want %d; only call 2 fails", n, got, err, n)
						}
					}()
					synctest.Wait()
				}
				close(open)
				synctest.Wait()
			})
		})
	}
}

// A caller that gives up returns at once. The others get their results, also those
// that joined a request which that caller had started. A request without a caller ends.
func TestCallersThatGiveUp(t *testing.T) {
	t.Parallel()
	for leavers := range 4 {
		t.Run(strconv.Itoa(leavers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				c := g.caller(3)
				first, firstGivesUp := context.WithCancel(t.Context())
				defer firstGivesUp()
				go c.Do(first, 0) // it is in the others' way
				synctest.Wait()
				ctx, giveUp := context.WithCancel(t.Context())
				var left atomic.Int32
				for n := range 3 { // which are a full request, under way
					mine := t.Context()
					if n < leavers {
						mine = ctx
					}
					go func() {
						got, err := c.Do(mine, n)
						if n < leavers {
							left.Add(1)
							if !errors.Is(err, context.Canceled) {
								t.Errorf("Do(%d) of a caller that gave up = %d, error %v, want its context's error", n, got, err)
							}
						} else if got != 2*n || err != nil {
							t.Errorf("Do(%d) = %d, error %v, want %d", n, got, err, 2*n)
						}
					}()
					synctest.Wait()
				}
				giveUp()
				synctest.Wait()
				if int(left.Load()) != leavers {
					t.Errorf("callers that left = %d, want %d", left.Load(), leavers)
				}
				if leavers < 3 {
					close(g.open)
				} else {
					firstGivesUp()
				}
				synctest.Wait() // and the bubble must end without anything under way
				if got := fmt.Sprint(g.seen()); got != "[1 3]" {
					t.Errorf("calls per request = %s, want [1 3]", got)
				}
			})
		})
	}
}

// TestCallThatGivesUpDoesNotDelayLaterCalls: the call waits alone behind another.
func TestCallThatGivesUpDoesNotDelayLaterCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := g.caller(3)
		ctx, giveUp := context.WithCancel(t.Context())
		go c.Do(t.Context(), 0) // it is in the other's way
		synctest.Wait()
		go c.Do(ctx, 1) // gives up
		synctest.Wait()
		giveUp()
		synctest.Wait()
		close(g.open)
		if got, err := c.Do(t.Context(), 2); got != 4 || err != nil {
			t.Errorf("Do(2) = %d, error %v, want 4", got, err)
		}
		if got := fmt.Sprint(g.seen()); got != "[1 1]" {
			t.Errorf("calls per request = %s, want [1 1]", got)
		}
	})
}

// TestManyAtOnce with some that give up at any time: every other call gets its
// own answer, and the caller is as good as new afterwards.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	g := newGate()
	close(g.open)
	go func() { // the sizes do not matter here
		for range g.sizes {
		}
	}()
	defer close(g.sizes)
	c := g.caller(4)
	var wg sync.WaitGroup
	for n := range 2000 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if n%3 == 0 {
				go cancel()
			}
			got, err := c.Do(ctx, n)
			if err == nil && got != 2*n || err != nil && n%3 != 0 {
				t.Errorf("Do(%d) = %d, error %v, want %d", n, got, err, 2*n)
			}
		})
	}
	wg.Wait()
	if got, err := c.Do(t.Context(), 7); got != 14 || err != nil {
		t.Errorf("Do(7) afterwards = %d, error %v, want 14", got, err)
	}
}
