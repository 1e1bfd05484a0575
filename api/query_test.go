package api_test

import (
	"strings"
	"testing"
)

// TestBadQueriesStateTheirReasonOnce: clients show the detail and the errors.
func TestBadQueriesStateTheirReasonOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for query, reason := range map[string]string{
		"/v1/sagas?since=yesterday": "RFC 3339", "/v1/sagas?before=now": "RFC 3339", "/v1/sagas?cursor=x": "the next of a page",
		"/v1/stock?cursor=x": "the next of a page",
	} {
		if a := b.get(query); strings.Count(a.body, reason) != 1 {
			t.Errorf("%s: %s, want %q once", query, a.body, reason)
		}
	}
}
