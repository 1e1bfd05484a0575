package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
)

// TestAuditLogsTheBodyOfAnAction checks that padding and escapes do not displace the body,
// and that a line that is cut is marked.
func TestAuditLogsTheBodyOfAnAction(t *testing.T) {
	b := newBench(t)
	at := "/v1/sagas/" + b.put(order.StatusReserved) + "/cancel"
	longest := strings.Repeat("😀", 500)
	escaped := strings.Repeat(`\ud83d\ude00`, 500)
	for _, x := range []struct {
		body, said string
		cut        bool
	}{
		{`{"by":"ann",` + strings.Repeat(" ", 100_000) + `"note":"mallory's"}`, `{"by":"ann","note":"mallory's"}`, false},
		{`{"note":"` + escaped + `"}`, `{"note":"` + longest + `"}`, false},
		{`{"note":"<a&b>"}`, `{"note":"<a&b>"}`, false},
		{`{"by":"ann","BY":"` + strings.Repeat("é", 5000) + `"}`, `{"by":"ann","BY":"éé`, true},
	} {
		b.log.Reset()
		b.post(at, x.body)
		lines := b.log.audits(t)
		if len(lines) != 1 {
			t.Fatalf("audit lines = %v, want one", lines)
		}
		said, ok := lines[0]["said"].(string)
		if !ok {
			raw, err := json.Marshal(lines[0]["said"])
			if err != nil {
				t.Fatalf("unexpected error: %v", err)
			}
			said = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(raw))
		}
		if cut, _ := lines[0]["cut"].(bool); cut != x.cut || !strings.HasPrefix(said, x.said) || !cut && said != x.said {
			t.Errorf("%.60s: logged %.100s, cut = %t, want %.100s, cut = %t", x.body, said, cut, x.said, x.cut)
		}
	}
	b.log.Reset()
	b.do("DELETE", "/v1/sagas/o?note="+strings.Repeat("x", 10_000), "")
	if lines := b.log.audits(t); len(lines) != 1 || lines[0]["cut"] != true || !strings.HasPrefix(lines[0]["query"].(string), "note=xxx") {
		t.Errorf("a long query: audit lines = %v, want one, with its begin note=xxx and cut true", lines)
	}
}

// TestAuditHidesPersonalData: an order may be sent to any route, inside any other value.
func TestAuditHidesPersonalData(t *testing.T) {
	b := newBench(t)
	id := b.put(order.StatusReserved)
	secret := newOrder("o", func(o *order.Order) {
		shipTo("S3CRET")(o)
		o.Payment.Token, o.ShipTo.Line1, o.ShipTo.City = "S3CRET", "S3CRET", "S3CRET"
	})
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	bodies := []string{
		secret, "[" + secret + "]", string(quoted), `{"detail":` + secret + `}`, `{"note":` + string(quoted) + `}`, `{"Message":` +
			string(quoted) + `}`,
		`{"by":"ann","Token":"S3CRET","LINE1":"S3CRET","city":"S3CRET","name":"S3CRET","postalCode":"S3CRET"}`, `{"payment":{"token":"S3CRET"}}`,
	}
	for _, path := range []string{
		"POST /v1/sagas/" + id + "/cancel", "POST /v1/orders/", "PUT /v1/orders",
		"POST /v1/sagas/x/nothing", "PUT /v1/stock/A", "POST /v1/dead-letters/OrderProcessingQueue/x/redrive", "POST /v1/dead-letters/",
	} {
		for _, body := range bodies {
			b.log.Reset()
			method, path, _ := strings.Cut(path, " ")
			if a := b.do(method, path, body); a.status < http.StatusBadRequest {
				if !strings.Contains(body, `"note"`) {
					t.Errorf("%s %s with %.60s: status = %d, want an error, since the body has no note", method, path, body, a.status)
				}
			}
			if n := len(b.log.audits(t)); n != 1 || strings.Contains(b.log.String(), "S3CRET") {
				t.Errorf("%s %s with %.60s: %d audit lines, want one and no S3CRET in the log: %s", method, path, body, n, b.log)
			}
		}
	}
}
