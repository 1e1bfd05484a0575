package embedded

import (
	"sync/atomic"

	"github.com/rs/zerolog"
)

// An invariant is a condition that holds after every change of the store. If one
// does not, the program has an error.
type invariant int

const (
	countersNotNegative invariant = iota // the store's counters of instances
	publishedIsApplied                   // an instance's metaSeq <= its seq
	inFlightIsDecoded                    // an instance that a worker has is not compacted
	logInOrder                           // records are appended in the order in which they are applied
	numInvariants
)

// String returns the invariant's name in logs and metrics.
func (n invariant) String() string {
	return [numInvariants]string{"counters_not_negative", "published_is_applied", "in_flight_is_decoded", "log_in_order"}[n]
}

// assertions makes the violations of new stores panic. Only tests set it: in
// production a wrong counter is better than a worker that stops.
var assertions bool

// violations counts violated invariants. It is safe for concurrent use.
type violations struct {
	log    zerolog.Logger
	panics bool
	counts [numInvariants]atomic.Int64
}

// check counts a violation if holds is false. The first one of each invariant is
// logged. id is of the instance that was changed, or "".
func (v *violations) check(n invariant, holds bool, id string) {
	if holds {
		return
	}
	if v.panics {
		panic("embedded: invariant " + n.String() + " is violated by a change of saga " + id)
	}
	if v.counts[n].Add(1) == 1 {
		v.log.Error().Stringer("invariant", n).Str("saga", id).
			Msg("an invariant of the engine is violated, which is an error in this program: report it; metrics count further violations")
	}
}
