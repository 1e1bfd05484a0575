package worker

import (
	"net/http"

	"github.com/ordersaga/ordersaga/api/console"
	"github.com/ordersaga/ordersaga/internal/auth"
)

// routes serves the console's pages and the API side by side: a request for the API does
// not pass through the console.
func routes(apiHandler, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if console.Serves(r.URL.Path) {
			pages.ServeHTTP(w, r)
			return
		}
		apiHandler.ServeHTTP(w, r)
	})
}

// withSession lets a browser that has signed in use both: the console's pages follow the
// API's streams from the browser.
func withSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth.UseSession(r)
		next.ServeHTTP(w, r)
	})
}
