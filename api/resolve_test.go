package api_test

import (
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
)

// TestRetryIsADeprecatedAliasOfResolve checks that both paths resolve a saga, keep the
// same note and write the same audit line, and that the document marks only the old one
// as deprecated.
func TestRetryIsADeprecatedAliasOfResolve(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusNeedsAttention)
	var lines []map[string]any
	for _, path := range []string{"/v1/sagas/" + id + "/resolve", "/v1/sagas/" + id + "/retry"} {
		b.log.Reset()
		b.accepted(b.post(path, `{"action":"skip","by":"ann","note":"sent by courier"}`))
		audits := b.log.audits(t)
		if len(audits) != 1 || audits[0]["path"] != path {
			t.Fatalf("%s: audit lines = %v, want one with this path", path, audits)
		}
		maps.DeleteFunc(audits[0], func(field string, _ any) bool {
			return field == "path" || field == "request" || field == "from" || field == "time"
		})
		lines = append(lines, audits[0])
		notes := b.view(id).Notes
		last := notes[len(notes)-1]
		if len(notes) != len(lines) || last.Action != "skip" || last.Actor != "ann" || last.Text != "sent by courier" {
			t.Errorf("%s: notes = %v, want %d, the last one skip by ann with the text %q", path, notes, len(lines), "sent by courier")
		}
		if err := b.Store.MarkNeedsAttention(t.Context(), id, "failed again"); err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
	}
	if !reflect.DeepEqual(lines[0], lines[1]) {
		t.Errorf("audit line of resolve = %v, of retry = %v, want the same", lines[0], lines[1])
	}
	if len(b.raised) != 2 || b.raised[0] != b.raised[1] {
		t.Errorf("raised events = %v, want the same event twice", b.raised)
	}

	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			Deprecated  bool
		}
	}
	b.get("/openapi.json").json(t, &doc)
	for path, methods := range doc.Paths {
		for _, op := range methods {
			if want := strings.HasSuffix(path, "/retry"); op.Deprecated != want {
				t.Errorf("%s (%s): deprecated = %t, want %t", path, op.OperationID, op.Deprecated, want)
			}
		}
	}
	b.do(http.MethodPost, "/v1/sagas/"+id+"/resolve", `{"action":"pray"}`).
		wantProblem(t, "unknown action", http.StatusUnprocessableEntity, "body.action", "retry")
}
