package paymentsim_test

import (
	"net/http"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/journal/journaltest"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestResponsesShowOnlyWhatIsInTheLedgerOnDisk checks repeated requests and reads.
func TestResponsesShowOnlyWhatIsInTheLedgerOnDisk(t *testing.T) {
	t.Parallel()
	charge := func(key, order, token string, status int, text string) journaltest.Request {
		return journaltest.Request{
			Method: http.MethodPost, Path: "/v1/charges", Header: map[string]string{"Idempotency-Key": key},
			Body: `{"orderId":"` + order + `","amount":1,"currency":"EUR","token":"` + token + `"}`, Status: status, Text: text,
		}
	}
	list := journaltest.Request{Method: http.MethodGet, Path: "/v1/charges?orderId=o", Status: http.StatusOK, Text: `"id":"ch_k"`}
	refund := journaltest.Request{
		Method: http.MethodPost, Path: "/v1/refunds", Header: map[string]string{"Idempotency-Key": "r"},
		Body: `{"orderId":"o","chargeKey":"k"}`, Status: http.StatusOK, Text: "succeeded",
	}
	for name, test := range map[string]journaltest.ServerTest{
		"charge": {
			Change: charge("k", "o", "tok_ok", 200, "succeeded"),
			Shows: []journaltest.Request{
				charge("k", "o", "tok_ok", 200, "succeeded"), charge("k", "other", "tok_ok", 409, "idempotency_mismatch"), list,
			},
		},
		"declined charge": {
			Change: charge("k", "o", "tok_declined", 402, "card_declined"),
			Shows:  []journaltest.Request{charge("k", "o", "tok_declined", 402, "card_declined")},
		},
		"refund": {
			Before: []journaltest.Request{charge("k", "o", "tok_ok", 200, "succeeded")},
			Change: refund,
			Shows:  []journaltest.Request{refund, {Method: http.MethodGet, Path: "/v1/refunds?orderId=o", Status: http.StatusOK, Text: "re_k"}},
		},
		"forgotten key": {
			Before: []journaltest.Request{charge("k", "o", "tok_ok", 200, "succeeded")},
			Change: journaltest.Request{Method: http.MethodPost, Path: "/v1/forget", Status: http.StatusNoContent},
			Shows:  []journaltest.Request{charge("k", "o", "tok_down", 503, "down")},
		},
	} {
		test.Open = func(t *testing.T, dir string, fs journal.FS) journaltest.Server {
			t.Helper()
			p, err := paymentsim.Open(paymentsim.Options{Dir: dir, Logger: zerolog.Nop(), FS: fs})
			require.NoError(t, err)
			return journaltest.Server{Handler: p.Handler(), Health: "/readyz", Watch: p.Watch, Close: p.Close}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.Run(t)
		})
	}
}
