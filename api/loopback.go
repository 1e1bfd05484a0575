package api

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/ordersaga/ordersaga/internal/httpserve"
)

// OnLoopback rejects requests whose Host is neither loopback nor the host of publicURL,
// which may be "". It protects an API without authentication from DNS rebinding: to the
// browser, a page whose name resolves to loopback has the API's origin. Only the Host
// header shows the difference.
func OnLoopback(publicURL string, next http.Handler) http.Handler {
	public := ""
	if u, err := url.Parse(publicURL); err == nil {
		public = u.Hostname()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostname(r.Host)
		if !httpserve.IsLoopback(host) && (public == "" || !strings.EqualFold(host, public)) {
			problem(w, http.StatusMisdirectedRequest, "header.Host",
				"this server has no authentication, so it accepts only requests for localhost or for the host of --public-url")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostname returns the name or the address in a Host header.
func hostname(host string) string {
	name, _, err := net.SplitHostPort(host)
	if err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}
