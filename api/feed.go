package api

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"
)

// feeds are what streams follow: however many follow the same thing, it is read
// once for all of them. The zero value is ready for use.
type feeds struct {
	mu   sync.Mutex
	open map[string]*feed // by what is followed
	held map[string]int   // streams, by who has them
}

// admit counts a stream of somebody's; false: they have most already. leave must
// be called when it ends.
func (s *feeds) admit(who string, most int) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[who] >= most {
		return nil, false
	}
	if s.held == nil {
		s.held = map[string]int{}
	}
	s.held[who]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.held[who]--; s.held[who] == 0 {
			delete(s.held, who)
		}
	}, true
}

// follow joins those who follow the same thing, or is the first of them: then
// look is called at once, and again each time that every has passed, until the
// last has left. ctx has the values that look needs. leave must be called; the
// last to leave waits for look to end, which its context tells it to.
func (s *feeds) follow(ctx context.Context, what string, every time.Duration, look func(context.Context) any) (f *feed, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f = s.open[what]
	if f == nil {
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		f = &feed{stop: stop, ended: make(chan struct{}), changed: make(chan struct{})}
		if s.open == nil {
			s.open = map[string]*feed{}
		}
		s.open[what] = f
		go f.poll(ctx, every, look)
	}
	f.followers++
	return f, func() { s.leave(what, f) }
}

func (s *feeds) leave(what string, f *feed) {
	s.mu.Lock()
	f.followers--
	last := f.followers == 0
	if last {
		delete(s.open, what) // who comes now begins another
	}
	s.mu.Unlock()
	if last {
		f.stop()
		<-f.ended
	}
}

// feed is one thing that is followed.
type feed struct {
	followers int // guarded by feeds.mu
	stop      context.CancelFunc
	ended     chan struct{} // closed when look is called no more

	mu      sync.Mutex
	seen    any
	n       int           // changes so far; 0: nothing was seen yet
	changed chan struct{} // closed with the next one
}

// now is what was seen last, and the channel that is closed when that has changed.
func (f *feed) now() (seen any, n int, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen, f.n, f.changed
}

func (f *feed) poll(ctx context.Context, every time.Duration, look func(context.Context) any) {
	defer close(f.ended)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last []byte
	for {
		seen := look(ctx)
		if ctx.Err() != nil {
			return // it was cut short
		}
		if now, err := json.Marshal(seen); err == nil && !bytes.Equal(now, last) {
			last = now
			f.mu.Lock()
			close(f.changed)
			f.seen, f.n, f.changed = seen, f.n+1, make(chan struct{})
			f.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
