package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestReconcileFollowsOneRun checks that the command prints the progress and the
// report of the run that it started, and rejects the report of another process.
func TestReconcileFollowsOneRun(t *testing.T) {
	reconcilePoll = time.Millisecond
	t.Cleanup(func() { reconcilePoll = 2 * time.Second })
	const (
		mine    = `{"ordersChecked":%d,"findings":[],"running":%t,"startedAt":"2026-11-25T10:00:00Z"}`
		failure = `{"ordersChecked":7,"findings":[],"running":false,"startedAt":"2026-11-25T10:00:00Z","error":"no charges"}`
		others  = `{"findings":[],"running":false}`
		problem = `{"title":"Internal Server Error","status":500,"detail":"something failed here"}`
	)
	going := func(n int) string { return "202 " + fmt.Sprintf(mine, n, true) }
	for name, c := range map[string]struct {
		answers       []string // the last one repeats
		status        int
		prints, warns string
	}{
		"continues while the API is unavailable": {
			[]string{going(1), "500 " + problem, going(2), "200 " + fmt.Sprintf(mine, 3, false)}, 0, `"ordersChecked": 3`, "2 orders",
		},
		"does not finish":                   {[]string{going(1), "200 " + failure}, 1, `"ordersChecked": 7`, "no charges"},
		"fails at once":                     {[]string{"500 " + problem, "200 " + failure}, 1, `"ordersChecked": 7`, "no charges"},
		"fails, and another worker answers": {[]string{"500 " + problem, "200 " + others}, 1, "", "something failed here"},
		"another worker answers":            {[]string{going(1), "200 " + others}, 1, "", "another worker answers now"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if (r.Method == http.MethodPost) != (asked == 0) {
					t.Errorf("request %d has method %s, want one POST and then GETs", asked, r.Method)
				}
				status, body, _ := strings.Cut(c.answers[min(asked, len(c.answers)-1)], " ")
				asked++
				w.WriteHeader(map[string]int{"200": http.StatusOK, "202": http.StatusAccepted, "500": http.StatusInternalServerError}[status])
				_, _ = w.Write([]byte(body))
			}))
			defer server.Close()
			var out, errs bytes.Buffer
			status := run(t.Context(), []string{"reconcile", "--api", server.URL}, &out, &errs)
			printed := strings.Contains(out.String(), c.prints) && (c.prints == "") == (out.Len() == 0)
			if status != c.status || !printed || !strings.Contains(errs.String(), c.warns) {
				t.Errorf("status %d, want %d; output has %q: want %q; errors have %q: want %q", status, c.status, &out, c.prints, &errs, c.warns)
			}
		})
	}
}
