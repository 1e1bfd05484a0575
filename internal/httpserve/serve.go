// Package httpserve runs an HTTP server until its context ends, and then shuts it down
// gracefully.
package httpserve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// grace is how long requests in flight may take to finish after ctx has ended.
const grace = 5 * time.Second

// IsLoopback reports whether host, a name or an IP address without a port, is this
// machine's loopback: localhost or a loopback address.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// Run serves h on l until ctx ends. It then waits up to 5 s for requests in flight and
// returns nil if all have finished. It closes l. Requests do not inherit ctx: it only
// closes their Draining channel.
func Run(ctx context.Context, l net.Listener, h http.Handler) error {
	var unused connections
	srv := &http.Server{
		Handler: closeCancelled(h), ConnState: unused.watch,
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
	if stop() { // Serve failed: ctx has not ended
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("shut down %s: %w", l.Addr(), err)
	}
	return nil
}

// closeCancelled closes a connection on which no request can succeed any more. While a
// handler runs, net/http reads on, to notice that the client disconnects. A read deadline
// that the handler sets after it has read the body, and that passes meanwhile, looks like
// a disconnect: net/http cancels the context of the connection, and every later request on
// it is cancelled on arrival. A client or proxy with a connection pool would get errors
// until it drops the connection by itself.
func closeCancelled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Err() != nil {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

type drainKey struct{}

// Draining returns a channel that is closed when the server of a request shuts down. A
// handler whose response does not end by itself, such as a stream, must end it then. It
// returns nil for a ctx that is not of a request served by Run.
func Draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(drainKey{}).(<-chan struct{})
	return c
}

// connections is the set of connections without a request so far. http.Server.Shutdown
// considers them busy and waits five seconds for a first request. Clients that dial in
// advance, as Go's does, leave some behind. It is safe for concurrent use.
type connections struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool // new connections are closed too
}

// watch is the server's ConnState: it adds new connections, and removes those that have had a
// request.
func (c *connections) watch(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state != http.StateNew {
		delete(c.conns, conn)
		return
	}
	if c.closed {
		_ = conn.Close() // it has no request in flight
		return
	}
	if c.conns == nil {
		c.conns = map[net.Conn]struct{}{}
	}
	c.conns[conn] = struct{}{}
}

// close closes the connections, and those that are added later.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.conns {
		_ = conn.Close() // it has no request in flight
	}
}
