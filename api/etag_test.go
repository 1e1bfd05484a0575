package api_test

import (
	"net/http"
	"testing"
)

// TestMatchingETagReturnsNotModified: a client that already has a response does not receive it
// again until it changes.
func TestMatchingETagReturnsNotModified(t *testing.T) {
	c := start(t)
	c.place(newOrder("o", expensive), "AWAITING_APPROVAL")
	paths := []string{"/v1/sagas/o", "/v1/sagas/o/history", "/v1/sagas?status=AWAITING_APPROVAL,COMPLETED"}
	tags := map[string]string{}
	for _, path := range paths {
		a := c.get(path)
		tag := a.header.Get("ETag")
		tags[path] = tag
		for header, want := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, "": 200} {
			b := c.do("GET", path, "", "If-None-Match", header)
			if b.status != want || b.header.Get("ETag") != tag || (b.body == "") != (want == 304) {
				t.Errorf("%s, If-None-Match: %s: %d %s %s, want %d %s", path, header, b.status, b.header.Get("ETag"), b.body, want, tag)
			}
		}
		if h := c.do("HEAD", path, "", "If-None-Match", tag); h.status != 304 {
			t.Errorf("HEAD %s, If-None-Match: %s: status = %d, want 304", path, tag, h.status)
		}
	}
	c.accepted(c.post("/v1/sagas/o/approve", ""))
	c.until("o", "COMPLETED")
	for _, path := range paths {
		if a := c.do("GET", path, "", "If-None-Match", tags[path]); a.status != http.StatusOK || a.header.Get("ETag") == tags[path] {
			t.Errorf("%s has changed: status = %d, ETag = %s, want 200 and another ETag", path, a.status, a.header.Get("ETag"))
		}
	}
	c.do("GET", "/v1/sagas/unknown", "", "If-None-Match", "*").wantProblem(t, "unknown", 404, "", "unknown")
}
