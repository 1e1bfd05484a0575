package api

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/httprate"

	"github.com/ordersaga/ordersaga/internal/auth"
)

// rateWindow is the time over which requests are counted: who asks for many at
// once and is then still may.
const rateWindow = 10 * time.Second

// limiter bounds how often one client may ask. Its zero value bounds nothing.
type limiter struct {
	requests  *httprate.RateLimiter
	perSecond int
}

func newLimiter(perSecond int) limiter {
	if perSecond <= 0 {
		return limiter{}
	}
	return limiter{httprate.NewRateLimiter(perSecond*int(rateWindow.Seconds()), rateWindow), perSecond}
}

// limited bounds the requests of each client. It comes after authentication:
// people and programs behind one address do not stand in each other's way.
func (s *server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if guarded(r.URL.Path) && s.limit.refused(w, r) {
			s.refused(r, http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refused answers a client that has asked too often. Who is not known, also for
// a bad token, is told apart by address.
func (l limiter) refused(w http.ResponseWriter, r *http.Request) bool {
	if l.requests == nil {
		return false
	}
	key := "address " + r.RemoteAddr
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		key = "address " + host
	}
	if p, ok := auth.From(r.Context()); ok {
		key = "subject " + p.Subject
	}
	if !l.requests.OnLimit(w, r, key) {
		return false
	}
	problem(w, http.StatusTooManyRequests, "", "this client asks more than "+strconv.Itoa(l.perSecond)+" times a second; wait as long as Retry-After says")
	return true
}
