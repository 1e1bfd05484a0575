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

// asker is one client. Who is not known, also for a bad token, is told apart by
// address.
func asker(r *http.Request) string {
	if p, ok := auth.FromContext(r.Context()); ok {
		return "subject " + p.Subject
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return "address " + host
	}
	return "address " + r.RemoteAddr
}

// refused answers a client that has asked too often.
func (l limiter) refused(w http.ResponseWriter, r *http.Request) bool {
	if l.requests == nil {
		return false
	}
	if !l.requests.OnLimit(w, r, asker(r)) {
		return false
	}
	problem(w, http.StatusTooManyRequests, "", "this client asks more than "+strconv.Itoa(l.perSecond)+" times a second; wait as long as Retry-After says")
	return true
}
