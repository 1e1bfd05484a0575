// Package httpserve runs an HTTP server until a context ends.
package httpserve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// grace is how long requests under way may take to finish.
const grace = 5 * time.Second

// Run answers requests on l until ctx ends, then lets requests under way
// finish and returns nil. It closes l.
func Run(ctx context.Context, l net.Listener, h http.Handler) error {
	var unused connections
	srv := &http.Server{
		Handler: alive(h), ConnState: unused.watch,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), drainKey{}, ctx.Done())
		},
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		unused.close()
		err := srv.Shutdown(deadline)
		if err != nil {
			err = errors.Join(err, srv.Close())
		}
		stopped <- err
	})
	err := srv.Serve(l)
	if stop() { // ctx has not ended
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("shut down %s: %w", l.Addr(), err)
	}
	return nil
}

// alive gives a connection up on which nothing can be answered any more.
// net/http goes on reading while a request is answered, to see whether the
// client leaves. A read deadline that somebody sets after the body was read, and
// that passes meanwhile, looks like that to it: it cancels the context of the
// connection, and every request that comes on it later arrives cancelled, which a
// pooled client or a proxy would see refused for ever.
func alive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Err() != nil {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

type drainKey struct{}

// Draining is closed when the server of a request goes down: answers that
// would not end by themselves should.
func Draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(drainKey{}).(<-chan struct{})
	return c
}

// connections are those on which no request has come yet. http.Server.Shutdown
// takes them for busy and waits five seconds for a first request; clients that
// dial in advance, as Go's does, leave some behind.
type connections struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool // and those that still come
}

func (c *connections) watch(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state != http.StateNew {
		delete(c.conns, conn)
		return
	}
	if c.closed {
		_ = conn.Close() // nothing was under way on it
		return
	}
	if c.conns == nil {
		c.conns = map[net.Conn]struct{}{}
	}
	c.conns[conn] = struct{}{}
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.conns {
		_ = conn.Close() // as above
	}
}
