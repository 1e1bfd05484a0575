package worker

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAPIRequestsDoNotPassThroughTheConsole(t *testing.T) {
	t.Parallel()
	const fromAPI, fromConsole = http.StatusAccepted, http.StatusOK
	answers := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	}
	handler := routes(answers(fromAPI), answers(fromConsole))
	for path, want := range map[string]int{
		"/":                       fromConsole,
		"/console":                fromConsole,
		"/console/":               fromConsole,
		"/console/sagas/o-1":      fromConsole,
		"/console/none":           fromConsole,
		"/consoles":               fromAPI,
		"/v1/sagas":               fromAPI,
		"/v1/console/":            fromAPI,
		"//console/":              fromAPI,
		"/docs":                   fromAPI,
		"/none":                   fromAPI,
		"/v1/sagas/../../console": fromAPI,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			r := httptest.NewRequest(method, "http://localhost/", http.NoBody)
			r.URL.Path = path
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s %s: status = %d, want %d (API %d, console %d)", method, path, w.Code, want, fromAPI, fromConsole)
			}
		}
	}
}
