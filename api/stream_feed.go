package api

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"
)

// feeds are the sources of streams: streams of the same thing share one feed, which reads
// it once for all of them. The zero value is ready for use. It is safe for concurrent use.
type feeds struct {
	mu   sync.Mutex
	open map[string]*feed // by what is read
	held map[string]int   // number of streams by client
}

// admit counts a stream of a client. It reports false if the client has limit streams.
// leave must be called when the stream ends.
func (s *feeds) admit(client string, limit int) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[client] >= limit {
		return nil, false
	}
	if s.held == nil {
		s.held = map[string]int{}
	}
	s.held[client]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held[client]--
		if s.held[client] == 0 {
			delete(s.held, client)
		}
	}, true
}

// follow joins the feed of what, or opens it. An open feed calls read at once and then at
// every interval, until its last follower leaves. ctx has the values that read needs; its
// cancellation has no effect. leave must be called. The last one cancels read's context and
// waits for read to return.
func (s *feeds) follow(
	ctx context.Context, what string, interval time.Duration, read func(context.Context) any,
) (f *feed, leave func()) {
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
		go f.poll(ctx, interval, read)
	}
	f.followers++
	return f, func() { s.leave(what, f) }
}

func (s *feeds) leave(what string, f *feed) {
	s.mu.Lock()
	f.followers--
	last := f.followers == 0
	if last {
		delete(s.open, what) // a new follower opens another feed
	}
	s.mu.Unlock()
	if last {
		f.stop()
		<-f.ended
	}
}

// feed reads one thing for all streams that follow it.
type feed struct {
	followers int // guarded by feeds.mu
	stop      context.CancelFunc
	ended     chan struct{} // closed after the last call of read

	mu      sync.Mutex
	last    any           // what read returned
	n       int           // number of changes; 0 before the first
	changed chan struct{} // closed with the next one
}

// now returns what was read last, the number of changes, and the channel that is closed at
// the next one.
func (f *feed) now() (last any, n int, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.n, f.changed
}

func (f *feed) poll(ctx context.Context, interval time.Duration, read func(context.Context) any) {
	defer close(f.ended)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var encoded []byte
	for {
		current := read(ctx)
		if ctx.Err() != nil {
			return // the read was cancelled
		}
		if now, err := json.Marshal(current); err == nil && !bytes.Equal(now, encoded) {
			encoded = now
			f.mu.Lock()
			close(f.changed)
			f.last, f.n, f.changed = current, f.n+1, make(chan struct{})
			f.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
