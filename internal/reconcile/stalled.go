package reconcile

import (
	"maps"
	"slices"
	"sync"
)

// Stalled keeps, between the runs of a reconciler, the stalled sagas. Runs read
// every saga that has not moved for the grace period from the engine; other callers read
// only these. The zero value has none. It is safe for concurrent use.
type Stalled struct {
	mu  sync.Mutex
	ids map[string]bool
}

// IDs returns the ids of orders whose sagas were stalled at the last check, in no order.
// They may have continued since.
func (s *Stalled) IDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.ids))
}

func (s *Stalled) saw(id string, stalled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !stalled {
		delete(s.ids, id)
		return
	}
	if s.ids == nil {
		s.ids = map[string]bool{}
	}
	s.ids[id] = true
}

// keep removes all whose orders have ended.
func (s *Stalled) keep(alive map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.ids, func(id string, _ bool) bool { return !alive[id] })
}
