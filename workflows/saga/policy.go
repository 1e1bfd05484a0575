package saga

import (
	"errors"
	"hash/fnv"
	"math"
	"strconv"
	"time"
)

// Policy is how an activity is retried. Business outcomes never are.
type Policy struct {
	// MaxAttempts counts the first one; 0 is no limit.
	MaxAttempts int
	// Budget bounds the time from the first attempt to the start of the last;
	// 0 is no limit. It does not end before MinAttempts: while the engine
	// stands still time goes by, and no attempt is made.
	Budget      time.Duration
	MinAttempts int
	// First is the pause after the first failure, Max the longest; each pause
	// is Factor times the one before. An error may ask for a longer one (see
	// Do), also than Max, and gets it up to a minute.
	First, Max time.Duration
	Factor     float64
	// Jitter is the share of a pause that is varied, 0 to 1: with 0.2 a pause
	// of 10 s lasts 8 to 10 s, or 10 to 12 s if an error has asked for it. It
	// is derived from the saga's id and not from chance, so that a replay
	// decides the same.
	Jitter float64
}

// forever is for what has no other way out than to succeed.
var forever = Policy{First: time.Second, Max: time.Minute, Factor: 2, Jitter: 0.2}

// Validate joins all that is wrong with a policy.
func (p Policy) Validate() error {
	var errs []error
	check := func(ok bool, msg string) {
		if !ok {
			errs = append(errs, errors.New("retry policy: "+msg))
		}
	}
	check(p.MaxAttempts >= 0, "MaxAttempts must not be negative")
	check(p.MinAttempts >= 0, "MinAttempts must not be negative")
	check(p.MaxAttempts == 0 || p.MinAttempts <= p.MaxAttempts, "MinAttempts must be at most MaxAttempts")
	check(p.Budget >= 0, "Budget must not be negative")
	check(p.First > 0, "First must be positive")
	check(p.Max >= p.First, "Max must be at least First")
	check(p.Factor >= 1, "Factor must be at least 1")
	check(p.Jitter >= 0 && p.Jitter <= 1, "Jitter must be 0 to 1")
	return errors.Join(errs...)
}

// longestAsked is the longest pause that an error may choose: whoever sends it
// may be wrong, or not mean well.
const longestAsked = time.Minute

// delay is the pause after the n-th failure, n from 1, which may ask for one of
// its own.
func (p Policy) delay(key string, n int, w wish) time.Duration {
	d := min(float64(p.First)*math.Pow(p.Factor, float64(n-1)), float64(p.Max))
	h := fnv.New32a()
	_, _ = h.Write([]byte(key + strconv.Itoa(n))) // never fails, says hash.Hash
	share := float64(h.Sum32()) / math.MaxUint32
	own := time.Duration(d * (1 - p.Jitter*share))
	later := func(d time.Duration) time.Duration { // not all at the same moment
		return d + time.Duration(float64(d)*p.Jitter*share)
	}
	if !w.whole {
		return max(own, min(later(w.pause), p.Max, longestAsked))
	}
	return max(own, later(min(w.pause, longestAsked)))
}

func (p Policy) exhausted(attempts int, elapsed time.Duration) bool {
	return (p.MaxAttempts > 0 && attempts >= p.MaxAttempts) || (p.Budget > 0 && elapsed > p.Budget && attempts >= p.MinAttempts)
}
