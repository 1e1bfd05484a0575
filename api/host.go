package api

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/ordersaga/ordersaga/internal/httpserve"
)

// OnLoopback lets only requests through whose Host is loopback's, or that of
// publicURL if it is not "". It is for an API that asks nobody who they are: a
// web page whose name is made to lead to loopback (DNS rebinding) is of the same
// origin as the API for the browser, and only the name in Host tells.
func OnLoopback(publicURL string, next http.Handler) http.Handler {
	public := ""
	if u, err := url.Parse(publicURL); err == nil {
		public = u.Hostname()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostname(r.Host)
		if !httpserve.IsLoopback(host) && (public == "" || !strings.EqualFold(host, public)) {
			problem(w, http.StatusMisdirectedRequest, "header.Host", "nothing here asks who one is, so it answers only as localhost, or under the name given with --public-url")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostname is a Host header's name or address.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}
