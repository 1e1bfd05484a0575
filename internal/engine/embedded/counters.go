package embedded

// count updates the store's counters for an instance. Every change of an
// instance calls it before mu is released: intake reads the counters before
// each receive, and a scan over a week's ended sagas would take too long.
func (s *store) count(i *instance) {
	live := !i.removed && !i.ended()
	waiting := live && (i.idle() || i.stalled)
	if i.compacted == nil { // otherwise its custom status is unchanged
		i.awaitsExternal = s.awaitsExternal(i.custom.GetValue())
	}
	external := waiting && (i.awaitsExternal || i.stalled)
	s.live += delta(i.counted.live, live)
	s.waiting += delta(i.counted.waiting, waiting)
	s.awaitingExternal += delta(i.counted.awaitingExternal, external)
	i.counted = counted{live: live, waiting: waiting, awaitingExternal: external}
	s.violations.check(countersNotNegative, s.live >= 0 && s.waiting >= 0 && s.awaitingExternal >= 0, i.id)
	s.violations.check(publishedIsApplied, i.metaSeq <= i.seq, i.id)
	s.violations.check(inFlightIsDecoded, !i.inFlight || i.compacted == nil, i.id)
}

// counted holds what an instance adds to the store's counters at the moment.
type counted struct{ live, waiting, awaitingExternal bool }

func delta(was, is bool) int {
	switch {
	case is && !was:
		return 1
	case was && !is:
		return -1
	}
	return 0
}

// forget stops counting an instance and cancels its timers, because it is being
// purged or replaced. nil is allowed.
func (s *store) forget(i *instance) {
	if i != nil {
		i.removed = true
		s.count(i)
		s.cancelTimers(i)
	}
}
