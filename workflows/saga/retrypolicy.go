package saga

import (
	"errors"
	"hash/fnv"
	"math"
	"strconv"
	"time"
)

// Policy configures how an activity is retried. Business outcomes (Stop) are never
// retried. The zero value is not valid: it would retry without a pause or a limit.
type Policy struct {
	// MaxAttempts limits the attempts, including the first; 0 means no limit.
	MaxAttempts int
	// Budget limits the time from the first attempt to the start of the last; 0
	// means no limit. It does not end before MinAttempts attempts: while the
	// engine is down time passes, but no attempt is made.
	Budget      time.Duration
	MinAttempts int
	// First is the pause after the first failure, and Max the longest pause. Each
	// pause is Factor times the previous one. An error may request a longer pause
	// (see Do), even than Max, up to a minute.
	First, Max time.Duration
	Factor     float64
	// Jitter is the share of a pause that varies, from 0 to 1. With 0.2 a pause of
	// 10 s lasts 8 to 10 s, or 10 to 12 s if an error requested it. It is derived
	// from the saga's id and not random, so that a replay decides the same.
	Jitter float64
}

// unlimitedRetries is for activities that must succeed before the saga can
// continue.
var unlimitedRetries = Policy{First: time.Second, Max: time.Minute, Factor: 2, Jitter: 0.2}

// Validate returns all faults of a policy, joined, or nil.
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

// requestedPause is the pause that a failed activity requests; zero if it requests
// none. Histories recorded before pauses could exceed Policy.Max do not have the
// marker uncapped: their replay must decide as they did.
type requestedPause struct {
	pause    time.Duration
	uncapped bool
}

// maxRequestedPause is the longest pause that an error may request: a faulty or
// malicious server must not stop a saga.
const maxRequestedPause = time.Minute

// delay returns the pause after the n-th failure, counted from 1, which may have
// requested one.
func (p Policy) delay(key string, n int, w requestedPause) time.Duration {
	d := min(float64(p.First)*math.Pow(p.Factor, float64(n-1)), float64(p.Max))
	h := fnv.New32a()
	_, _ = h.Write([]byte(key + strconv.Itoa(n))) // never fails: see hash.Hash
	share := float64(h.Sum32()) / math.MaxUint32
	own := time.Duration(d * (1 - p.Jitter*share))
	later := func(d time.Duration) time.Duration { // so that not all sagas retry at the same moment
		return d + time.Duration(float64(d)*p.Jitter*share)
	}
	if !w.uncapped {
		return max(own, min(later(w.pause), p.Max, maxRequestedPause))
	}
	return max(own, later(min(w.pause, maxRequestedPause)))
}

// exhausted reports whether no further attempt is allowed.
func (p Policy) exhausted(attempts int, elapsed time.Duration) bool {
	return (p.MaxAttempts > 0 && attempts >= p.MaxAttempts) ||
		(p.Budget > 0 && elapsed > p.Budget && attempts >= p.MinAttempts)
}
