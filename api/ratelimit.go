package api

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/httprate"

	"github.com/ordersaga/ordersaga/internal/auth"
)

// rateWindow is the time over which requests are counted: a burst is allowed if the
// client then pauses.
const rateWindow = 10 * time.Second

// rateLimiter limits the requests of each client. Its zero value has no limit.
type rateLimiter struct {
	requests  *httprate.RateLimiter
	perSecond int
}

func newRateLimiter(perSecond int) rateLimiter {
	if perSecond <= 0 {
		return rateLimiter{}
	}
	return rateLimiter{requests: httprate.NewRateLimiter(perSecond*int(rateWindow.Seconds()), rateWindow), perSecond: perSecond}
}

// limited limits the requests of each client. It comes after authentication, so that
// authenticated clients behind one address have a limit each.
func (s *server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isProtected(r.URL.Path) && s.limit.refused(w, r) {
			s.refused(r, http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// clientOf identifies a client: by its subject, or without a valid token by its address.
func clientOf(r *http.Request) string {
	if p, ok := auth.FromContext(r.Context()); ok {
		return "subject " + p.Subject
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err == nil {
		return "address " + host
	}
	return "address " + r.RemoteAddr
}

// refused reports whether the client is over its limit. Then it has written the response.
func (l rateLimiter) refused(w http.ResponseWriter, r *http.Request) bool {
	if l.requests == nil {
		return false
	}
	if !l.requests.OnLimit(w, r, clientOf(r)) {
		return false
	}
	problem(w, http.StatusTooManyRequests, "",
		"this client sends more than "+strconv.Itoa(l.perSecond)+" requests per second; retry after the seconds in Retry-After")
	return true
}
