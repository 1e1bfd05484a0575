package api_test

import (
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
)

// limited counts the read deadlines in the future that its connections get.
type limited struct {
	net.Listener

	n *atomic.Int64
}

func (l limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return limitedConn{c, l.n}, err
}

type limitedConn struct {
	net.Conn

	n *atomic.Int64
}

func (c limitedConn) SetReadDeadline(at time.Time) error {
	if at.After(time.Now()) {
		c.n.Add(1)
	}
	return c.Conn.SetReadDeadline(at)
}

// TestConnectionGetsNoReadDeadline: huma sets a read deadline of 5 s on the body and never
// removes it. A slower request would then cancel the next one on its connection.
func TestConnectionGetsNoReadDeadline(t *testing.T) {
	b := newBench(t)
	b.accepted(b.post("/v1/sagas/"+b.put(order.StatusReserved)+"/cancel", `{"by":"ann"}`))
	all := b.operations()
	for _, o := range all {
		if !strings.HasSuffix(o.path, "/events") {
			b.do(o.method, o.path, "{}")
		}
	}
	if len(all) < 25 {
		t.Errorf("operations = %v, want at least 25", all)
	}
	if n := b.limits.Load(); n > 0 {
		t.Errorf("the connection got %d read deadlines, want none", n)
	}
}

// TestConnectionSurvivesASlowRequest: a request that takes longer than huma's 5 s does not
// affect the next request on its connection.
func TestConnectionSurvivesASlowRequest(t *testing.T) {
	t.Parallel() // it waits
	b := newBench(t)
	b.slow = 6 * time.Second
	id := b.put(order.StatusReserved)
	b.accepted(b.post("/v1/sagas/"+id+"/cancel", `{"by":"ann"}`))
	var reused bool
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.API+"/v1/sagas/"+id, nil)
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	res, err := b.http.Do(req)
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	defer func() { _ = res.Body.Close() }()
	if !reused || res.StatusCode != http.StatusOK {
		t.Errorf("status = %s, connection reused = %t, want 200 on the same connection", res.Status, reused)
	}
}
