package reconcile

import (
	"maps"
	"slices"
	"sync"
)

// Stalled is what runs of a reconciler remember of sagas that Dapr runs no more.
// They ask the engine for every saga that has not moved for the grace period;
// others ask only for these. Its zero value remembers nothing. It is safe for
// concurrent use.
type Stalled struct {
	mu  sync.Mutex
	ids map[string]bool
}

// IDs are those of the orders whose sagas were stalled when they were last looked
// at, in no order. They may go on by now.
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

// keep forgets all whose orders have ended.
func (s *Stalled) keep(alive map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.ids, func(id string, _ bool) bool { return !alive[id] })
}
