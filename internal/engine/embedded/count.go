package embedded

// count brings the store's counters up to date with an instance. Whoever
// changes one does it before letting go of mu: intake asks for the numbers
// before every receive, and a scan takes as long as a week's ended sagas.
func (s *store) count(i *instance) {
	live := !i.gone && !i.ended()
	waiting := live && i.idle()
	if i.packed == nil { // else it says what it said
		i.rests = s.rests(i.custom.GetValue())
	}
	resting := waiting && i.rests
	s.live += delta(i.live, live)
	s.waiting += delta(i.waiting, waiting)
	s.resting += delta(i.resting, resting)
	i.live, i.waiting, i.resting = live, waiting, resting
}

func delta(was, is bool) int {
	switch {
	case is && !was:
		return 1
	case was && !is:
		return -1
	}
	return 0
}

// forget counts an instance no more, and wakes it no more: it is being purged
// or replaced.
func (s *store) forget(i *instance) {
	if i != nil {
		i.gone = true
		s.count(i)
		s.silence(i)
	}
}
