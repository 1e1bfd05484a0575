package payment_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/httpcall"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/text"
)

// respond responds to every request in the same way. With a location it redirects.
func respond(status int, body string, location ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for _, l := range location {
			w.Header().Set("Location", l)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

const html = "<html><body>Payment Required</body></html>"

// tooLong is a response that is valid but for its size.
var tooLong = `{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"EUR","charges":[],"pad":"` + strings.Repeat(
	"x",
	8<<20,
) + `"}`

// invalidAlways are responses that are invalid for every request.
var invalidAlways = map[string]http.HandlerFunc{
	"200, empty":       respond(200, ""),
	"200, no field":    respond(200, "{}"),
	"200, null":        respond(200, "null"),
	"200, a list":      respond(200, "[]"),
	"200, a number":    respond(200, "1"),
	"200, text":        respond(200, `"ch_1"`),
	"200, HTML":        respond(200, html),
	"200, too long":    respond(200, tooLong),
	"200, error in it": respond(200, `{"code":"card_declined","message":"no"}`),
	"204":              respond(204, ""),
	"202, a charge": respond(
		202,
		`{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"EUR","chargeId":"ch_1","charges":[]}`,
	),
	"206, a charge": respond(
		206,
		`{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"EUR","chargeId":"ch_1","charges":[]}`,
	),
	"402, HTML":             respond(402, html),
	"402, empty":            respond(402, ""),
	"402, no code":          respond(402, `{"message":"pay the proxy"}`),
	"402, code is a number": respond(402, `{"code":7}`),
	"402, code twice":       respond(402, `{"code":"","code":"card_declined"}`),
	"409, HTML":             respond(409, html),
	"400, voided":           respond(400, `{"code":"charge_voided"}`),
	"500, voided":           respond(500, `{"code":"charge_voided"}`),
	"500, declined":         respond(500, `{"code":"card_declined"}`),
	"404, HTML":             respond(404, html),
	"418":                   respond(418, `{"id":"ch_1","status":"succeeded"}`),
	"301 without Location":  respond(301, `{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}`),
	"304":                   respond(304, ""),
	"cut off": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, `{"id":"ch_1","status":"succeeded"`)
	},
	"cut off after what is right": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"EUR","charges":[]}`)
	},
	"connection closed": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
}

// made is the charge of the responses in these tests.
var made = payment.Entry{OrderID: "o", ID: "ch_1", Amount: 500, Currency: "EUR"}

// TestInvalidResponsesAreNotAccepted: responses of proxies, of misconfigured servers and of a
// faulty provider are not a charge, a refund or a list, and never final.
func TestInvalidResponsesAreNotAccepted(t *testing.T) {
	t.Parallel()
	for name, h := range invalidAlways {
		t.Run(name, func(t *testing.T) {
			c := client(t, h, 0)
			if id, err := c.Charge(t.Context(), of("o", "tok_ok")); err == nil || final(err) || id != "" {
				t.Errorf("Charge = %q, %v, want an error that is not final", id, err)
			}
			if id, err := c.Refund(t.Context(), payment.Entry{OrderID: "o"}); err == nil || final(err) || id != "" {
				t.Errorf("Refund = %q, %v, want an error that is not final", id, err)
			}
			if id, err := c.RefundCharge(t.Context(), made); err == nil || final(err) || id != "" {
				t.Errorf("RefundCharge = %q, %v, want an error that is not final", id, err)
			}
			if list, err := c.ChargesOf(t.Context(), "o"); err == nil || final(err) || len(list) > 0 {
				t.Errorf("ChargesOf = %v, %v, want an error that is not final", list, err)
			}
			if list, _, err := c.Charges(t.Context(), "", 10); err == nil || final(err) || len(list) > 0 {
				t.Errorf("Charges = %v, %v, want an error that is not final", list, err)
			}
		})
	}
}

func TestValidateChargeResponse(t *testing.T) {
	t.Parallel()
	const unknown, declined = "unknown", "declined"
	for _, c := range []struct{ body, want string }{
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}`, "ch_1"},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"EUR","more":{"id":7}}`, "ch_1"},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":500.0,"currency":"EUR"}`, "ch_1"},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":5.00,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"failed","orderId":"o","amount":500,"currency":"EUR","code":"card_declined","message":"no"}`, declined},
		{`{"id":"ch_1","status":"failed","orderId":"o","amount":500,"currency":"EUR"}`, declined},
		{`{"id":"","status":"succeeded"}`, unknown},
		{`{"id":"ch_1","status":"succeeded"}`, unknown},
		{`{"id":"ch_1","status":"failed"}`, unknown},
		{`{"id":"ch_1","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"","status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":null,"status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":7,"status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"pending","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"requires_action","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"SUCCEEDED","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"voided","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":true,"orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"succeeded","orderId":"p","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"succeeded","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"failed","orderId":"p","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":499,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":-500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":500.5,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":"500","currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"USD"}`, unknown},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":500}`, unknown},
		{`{"id":"ch_1","status":"failed","status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","Status":"failed","status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}`, unknown},
		{`{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}{}`, unknown},
		{`[{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}]`, unknown},
		{`{"charges":[{"id":"ch_1","status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}],"next":""}`, unknown},
	} {
		for _, status := range []int{200, 201} {
			id, err := client(t, respond(status, c.body), 0).Charge(t.Context(), of("o", "tok_ok"))
			got := id
			if _, no := errors.AsType[*payment.DeclinedError](err); no {
				got = declined
			} else if err != nil {
				got = unknown
			}
			if got != c.want || id != "" && err != nil ||
				err != nil &&
					(errors.Is(err, payment.ErrVoided) || strings.Contains(err.Error(), "tok_ok") || strings.Contains(err.Error(), "Go struct")) {
				t.Errorf("Charge with response %d %s = %q, %v, want %s", status, c.body, id, err, c.want)
			}
		}
	}
}

func TestFinalRefusalsOfCharges(t *testing.T) {
	t.Parallel()
	_, err := client(t, respond(402, `{"code":"card_declined","message":"no"}`), 0).Charge(t.Context(), of("o", "tok_ok"))
	if d, ok := errors.AsType[*payment.DeclinedError](err); !ok || *d != (payment.DeclinedError{Code: "card_declined", Message: "no"}) {
		t.Errorf("Charge with status 402: error = %v, want Declined", err)
	}
	for _, token := range []string{"tok_ok", "charge_voided", "e"} { // also if the code contains the token
		if _, err := client(t, respond(409, `{"code":"charge_voided"}`), 0).Charge(t.Context(), of("o", token)); !errors.Is(
			err,
			payment.ErrVoided,
		) {
			t.Errorf("Charge with token %s and status 409: error = %v, want ErrVoided", token, err)
		}
	}
	// Neither is final for a refund or the ledger.
	for _, h := range []http.HandlerFunc{respond(402, `{"code":"card_declined","message":"no"}`), respond(409, `{"code":"charge_voided"}`)} {
		c := client(t, h, 0)
		_, refund := c.Refund(t.Context(), payment.Entry{OrderID: "o"})
		_, list := c.ChargesOf(t.Context(), "o")
		if refund == nil || list == nil || final(refund) || final(list) {
			t.Errorf("Refund: %v, ChargesOf: %v, want errors that are not final", refund, list)
		}
	}
}

func TestValidateRefundResponse(t *testing.T) {
	t.Parallel()
	const list = `{"charges":[{"id":"ch_1","orderId":"o","amount":500,"currency":"EUR","refunded":true,"refundId":"re_1",` +
		`"createdAt":"2026-11-23T10:00:00Z"}]}`
	for _, c := range []struct {
		body, ledger      string
		byKey, byID       bool // whether it is accepted
		withoutIDOfRefund bool
	}{
		{`{"id":"re_1","status":"succeeded","orderId":"o","chargeId":"ch_1","amount":500,"currency":"EUR"}`, list, true, true, false},
		{`{"id":"re_1","status":"refunded","orderId":"o","chargeId":"ch_1","amount":500,"currency":"EUR"}`, list, true, true, false},
		{`{"status":"voided","orderId":"o"}`, `{"charges":[]}`, true, false, true},
		{`{"id":"","status":"voided","orderId":"o"}`, `{"charges":[],"next":""}`, true, false, true},
		{
			`{"id":"re_1","status":"succeeded","orderId":"o","chargeId":"ch_1","amount":500,"currency":"EUR"}`, `{"charges":[]}`, false, true,
			false,
		},
		{`{"id":"re_1","status":"succeeded","orderId":"o","chargeId":"ch_1","amount":500,"currency":"EUR"}`, `{}`, false, true, false},
		{`{"id":"re_1","status":"succeeded","orderId":"o","chargeId":"ch_2","amount":500,"currency":"EUR"}`, list, false, false, false},
		{`{"id":"re_1","status":"succeeded","orderId":"o"}`, list, false, false, false},
		{`{"id":"re_1","status":"succeeded","chargeId":"ch_1","amount":500,"currency":"EUR"}`, list, false, false, false},
		{`{"id":"re_1","status":"succeeded","orderId":"p","chargeId":"ch_1","amount":500,"currency":"EUR"}`, list, false, false, false},
		{`{"id":"","status":"succeeded","orderId":"o","chargeId":"ch_1","amount":500,"currency":"EUR"}`, list, false, false, false},
		{`{"id":"re_1","status":"pending","orderId":"o","chargeId":"ch_1","amount":500,"currency":"EUR"}`, list, false, false, false},
		{`{"id":"re_1","status":"failed","orderId":"o","chargeId":"ch_1","amount":500,"currency":"EUR"}`, list, false, false, false},
		{`{"id":"re_1","orderId":"o","chargeId":"ch_1","amount":500,"currency":"EUR"}`, list, false, false, false},
		{`{"id":"re_1","status":"voided","orderId":"o"}`, `{"charges":[]}`, false, false, false},
		{`{"id":"re_1","status":"succeeded","orderId":"o","chargeId":"ch_1"}`, list, false, false, false},
		{`{"id":"re_1","status":"succeeded","orderId":"o","chargeId":"ch_1","amount":500}`, list, false, false, false},
		{`{"id":"re_1","status":"succeeded","orderId":"o","chargeId":"ch_1","amount":null,"currency":"EUR"}`, list, false, false, false},
		{`{"id":"re_1","status":"succeeded","orderId":"o","chargeId":"ch_1","amount":499,"currency":"EUR"}`, list, false, false, false},
		{`{"id":"re_1","status":"succeeded","orderId":"o","chargeId":"ch_1","amount":501,"currency":"EUR"}`, list, false, false, false},
		{`{"id":"re_1","status":"succeeded","orderId":"o","chargeId":"ch_1","amount":500,"currency":"USD"}`, list, false, false, false},
		{`{"status":"voided"}`, `{"charges":[]}`, false, false, false},
		{`{"status":"voided","orderId":"p"}`, `{"charges":[]}`, false, false, false},
	} {
		c1 := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := c.body
			if r.Method == http.MethodGet {
				body = c.ledger
			}
			respond(200, body)(w, r)
		}), 0)
		id, err := c1.Refund(t.Context(), payment.Entry{OrderID: "o"})
		if (err == nil) != c.byKey || (id != "") != (c.byKey && !c.withoutIDOfRefund) {
			t.Errorf("Refund by key with response %s = %q, %v, want accepted = %v", c.body, id, err, c.byKey)
		}
		id, err = c1.RefundCharge(t.Context(), made)
		if (err == nil) != c.byID || (id != "") != c.byID {
			t.Errorf("RefundCharge with response %s = %q, %v, want accepted = %v", c.body, id, err, c.byID)
		}
	}
}

// TestRefundMustBeOfTheCharge: a refund of a charged order is accepted only if it refunds that
// charge.
func TestRefundMustBeOfTheCharge(t *testing.T) {
	t.Parallel()
	const (
		byKey  = `{"id":"re_k","status":"succeeded","orderId":"o","chargeId":"ch_%d","amount":500,"currency":"EUR"}`
		byID   = `{"id":"re_i","status":"succeeded","orderId":"o","chargeId":"ch_%d","amount":500,"currency":"EUR"}`
		voided = `{"status":"voided","orderId":"o"}`
		one    = `{"id":"ch_%d","orderId":"o","amount":500,"currency":"EUR","refunded":true,"refundId":"re_%d",` +
			`"createdAt":"2026-11-23T10:00:00Z"}`
		stands = `{"id":"ch_1","orderId":"o","amount":500,"currency":"EUR","refunded":false,"createdAt":"2026-11-23T10:00:00Z"}`
	)
	ch1, ch2 := fmt.Sprintf(one, 1, 1), fmt.Sprintf(one, 2, 2)
	for name, c := range map[string]struct{ key, ledger, id, want string }{
		"by its key":                {key: fmt.Sprintf(byKey, 1), ledger: ch1, want: "re_1"},
		"the key was forgotten":     {key: voided, ledger: stands, id: fmt.Sprintf(byID, 1), want: "re_i"},
		"it was given back before":  {key: voided, ledger: ch1, want: "re_1"},
		"another one too":           {key: fmt.Sprintf(byKey, 2), ledger: ch2 + "," + ch1, want: "re_1"},
		"voided":                    {key: voided},
		"another":                   {key: fmt.Sprintf(byKey, 2), ledger: ch2},
		"voided, another in ledger": {key: voided, ledger: ch2},
		"over another amount":       {key: voided, ledger: strings.Replace(ch1, "500", "5", 1)},
		"over another currency":     {key: voided, ledger: strings.Replace(ch1, "EUR", "USD", 1)},
		"and by its id, voided":     {key: voided, ledger: stands, id: voided},
	} {
		p := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := `{"charges":[` + c.ledger + `]}`
			if r.Method == http.MethodPost {
				body = c.id
				if r.Header.Get("Idempotency-Key") == "refund-o" {
					body = c.key
				}
			}
			respond(200, body)(w, r)
		}), 0)
		if id, err := p.Refund(t.Context(), made); id != c.want || (err == nil) != (c.want != "") ||
			err != nil && !payment.IsInvalidResponse(err) {
			t.Errorf("%s: Refund = %q, %v, want %q", name, id, err, c.want)
		}
	}
}

// TestStepsAreBounded: neither a ledger of many pages nor an order of many charges
// takes longer than StepTimeouts.
func TestStepsAreBounded(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	slowly := func(body func(n int64) string) *payment.Client {
		var calls atomic.Int64
		return client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := calls.Add(1)
			select {
			case <-time.After(timeout / 2):
				respond(200, body(n))(w, r)
			case <-r.Context().Done():
			}
		}), timeout)
	}
	const charge = `{"id":"ch_%d","orderId":"o","amount":500,"currency":"EUR","refunded":false,"createdAt":"2026-11-23T10:00:00Z"}`
	pages := slowly(func(n int64) string { return fmt.Sprintf(`{"charges":[`+charge+`],"next":"%d"}`, n, n) })
	if _, err := pages.ChargesOf(t.Context(), "o"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	const many = 20
	var list []string
	for n := range many {
		list = append(list, fmt.Sprintf(charge, n+3))
	}
	charges := slowly(func(n int64) string {
		switch n {
		case 1:
			return `{"status":"voided","orderId":"o"}`
		case 2:
			return `{"charges":[` + strings.Join(list, ",") + `]}`
		}
		return fmt.Sprintf(`{"id":"re_%d","status":"succeeded","orderId":"o","chargeId":"ch_%d","amount":500,"currency":"EUR"}`, n, n)
	})
	if _, err := charges.Refund(t.Context(), payment.Entry{OrderID: "o"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestMalformedLedgersAreRejected(t *testing.T) {
	t.Parallel()
	entry := func(was, is string) string {
		return `{"charges":[` + strings.Replace(
			`{"id":"ch_1","orderId":"o","amount":500,"currency":"EUR","refunded":false,"createdAt":"2026-11-23T10:00:00Z"}`,
			was,
			is,
			1,
		) + `]}`
	}
	for body, ok := range map[string]bool{
		entry("", ""):                                       true,
		`{"charges":[]}`:                                    true,
		`{"charges":null}`:                                  false,
		`{"next":""}`:                                       false,
		`{"charges":{}}`:                                    false,
		`{"charges":[null]}`:                                false,
		`{"charges":[{}]}`:                                  false,
		`{"charges":[],"next":"on"}`:                        false,
		`{"charges":[],"charges":[]}`:                       false,
		entry(`"id":"ch_1",`, ""):                           false,
		entry(`"ch_1"`, `""`):                               false,
		entry(`"orderId":"o",`, ""):                         false,
		entry(`"orderId":"o"`, `"orderId":""`):              false,
		entry(`"amount":500,`, ""):                          false,
		entry(`500`, `-1`):                                  false,
		entry(`"currency":"EUR",`, ""):                      false,
		entry(`"refunded":false,`, ""):                      false,
		entry(`false`, `true`):                              false, // without the id of the refund
		entry(`false`, `true,"refundId":"r"`):               true,
		entry(`,"createdAt":"2026-11-23T10:00:00Z"`, ""):    false,
		entry(`"createdAt":`, `"refunded":true,"created":`): false,
	} {
		c := client(t, respond(200, body), 0)
		if _, err := c.ChargesOf(t.Context(), "o"); (err == nil) != ok {
			t.Errorf("ChargesOf with response %s: error = %v, want accepted = %v", body, err, ok)
		}
		if _, _, err := c.Charges(t.Context(), "", 10); (err == nil) != ok {
			t.Errorf("Charges with response %s: error = %v, want accepted = %v", body, err, ok)
		}
	}
	if list, err := client(t, respond(200, entry("", "")), 0).ChargesOf(t.Context(), "p"); err == nil || len(list) > 0 {
		t.Errorf("ChargesOf with another order's charge = %+v, %v, want an error", list, err)
	}
	if list, err := client(t, respond(201, entry("", "")), 0).ChargesOf(t.Context(), "o"); err == nil || len(list) > 0 {
		t.Errorf("ChargesOf with status 201 = %+v, %v, want an error", list, err)
	}
	twice := strings.Replace(
		entry("", ""),
		"}]}",
		`},{"id":"ch_1","orderId":"o","amount":500,"currency":"EUR","refunded":true,"refundId":"r","createdAt":"2026-11-23T10:00:00Z"}]}`,
		1,
	)
	if list, err := client(t, respond(200, twice), 0).ChargesOf(t.Context(), "o"); err == nil ||
		!strings.Contains(err.Error(), "the ledger repeats itself") {
		t.Errorf("ChargesOf with a repeated charge = %+v, %v, want an error", list, err)
	}
	var pages atomic.Int64
	endless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := pages.Add(1)
		body := strings.Replace(entry("ch_1", fmt.Sprint("ch_", n)), "]}", fmt.Sprintf(`],"next":"%d"}`, n), 1)
		respond(200, body)(w, r)
	})
	if _, err := client(t, endless, 0).ChargesOf(t.Context(), "o"); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("ChargesOf with an endless ledger: error = %v, want one about that", err)
	}
}

// TestLedgerThatRepeatsItself: ChargesSince ends if a ledger goes round with its cursors, or
// returns the same charges behind new ones.
func TestLedgerThatRepeatsItself(t *testing.T) {
	t.Parallel()
	page := func(n int64, next string) string {
		return fmt.Sprintf(
			`{"charges":[{"id":"ch_%d","orderId":"o%[1]d","amount":5,"currency":"EUR","refunded":false,"createdAt":"2026-11-23T10:00:00Z"}],`+
				`"next":%q}`,
			n,
			next,
		)
	}
	next := map[string]string{"": "a", "a": "b", "b": "a"}
	for what, answer := range map[string]func(n int64, cursor string) string{
		"cursors": func(n int64, cursor string) string { return page(n, next[cursor]) },
		"itself":  func(n int64, _ string) string { return page(n, "a") },
		"charges": func(n int64, _ string) string { return page(n%3, strconv.FormatInt(n, 10)) },
	} {
		var asked atomic.Int64
		c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := asked.Add(1)
			if n > 50 {
				t.Errorf("%s: still reading after 50 pages, want an error", what)
				respond(500, "")(w, r)
				return
			}
			respond(200, answer(n, r.URL.Query().Get("cursor")))(w, r)
		}), 0)
		var err error
		for _, err = range c.ChargesSince(t.Context(), time.Time{}) {
		}
		if err == nil || !payment.IsInvalidResponse(err) || !strings.Contains(err.Error(), "the ledger repeats itself") {
			t.Errorf("%s: error = %v, want an invalid response that repeats itself", what, err)
		}
	}
}

func TestInvalidEntriesAreMarkedAndOthersAccepted(t *testing.T) {
	t.Parallel()
	good := `{"id":"ch_1","orderId":"o1","amount":5,"currency":"EUR","refunded":false,"createdAt":"2026-11-23T10:00:00Z"}`
	for odd, want := range map[string]payment.Entry{
		`{"id":"ch_2","orderId":"o2","amount":5,"currency":"EUR","refunded":true,"createdAt":"2026-11-23T10:00:00Z"}`: {
			ID:      "ch_2",
			OrderID: "o2",
		},
		`{"id":"ch_2","orderId":"o2","amount":"5"}`:           {ID: "ch_2", OrderID: "o2"},
		`{"id":"ch_2","orderId":"o2","createdAt":"long ago"}`: {ID: "ch_2", OrderID: "o2"},
		`{"id":7,"orderId":"o2"}`:                             {OrderID: "o2"},
		`{"ID":"ch_2","id":"ch_3","orderId":"o2"}`:            {ID: "ch_3", OrderID: "o2"},
		`null`: {},
		`[1]`:  {},
	} {
		c := client(t, respond(200, `{"charges":[`+odd+`,`+good+`]}`), 0)
		var all []payment.Entry
		for page, err := range c.ChargesSince(t.Context(), time.Time{}) {
			if err != nil {
				t.Errorf("ChargesSince with entry %s: %v, want no error", odd, err)
			}
			all = append(all, page...)
		}
		if len(all) != 2 || !payment.IsInvalidResponse(all[0].Invalid) || all[0].ID != want.ID || all[0].OrderID != want.OrderID ||
			all[1].Invalid != nil ||
			all[1].ID != "ch_1" {
			t.Errorf("ChargesSince with entry %s = %+v, want the invalid entry marked, and the valid one", odd, all)
		}
	}
}

// TestNoRedirectIsFollowed: a proxy that redirects http to https would turn a POST into a GET,
// whose response is a list and not a charge. A 308 would send the API key and the token to an
// address that is not configured.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	p, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	var arrived atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		p.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(target.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target.URL+r.URL.Path, status) })
		c := client(t, front, 0)
		_, charge := c.Charge(t.Context(), of("o", "tok_ok"))
		_, refund := c.Refund(t.Context(), payment.Entry{OrderID: "o"})
		_, of := c.ChargesOf(t.Context(), "o")
		_, _, all := c.Charges(t.Context(), "", 10)
		for what, err := range map[string]error{"charge": charge, "refund": refund, "of": of, "all": all} {
			r, ok := errors.AsType[*httpcall.RedirectedError](err)
			if !ok || final(err) || r.Status != status || !strings.HasPrefix(r.To, target.URL) {
				t.Errorf("%s with status %d: error = %v, want a RedirectedError that is not final", what, status, err)
			}
		}
	}
	if n := arrived.Load(); n != 0 {
		t.Errorf("%d requests followed a redirect, want 0", n)
	}
}

// TestBaseURLWithPathAndSlash: the base URL may have a path and end with slashes.
func TestBaseURLWithPathAndSlash(t *testing.T) {
	t.Parallel()
	p, err := paymentsim.Open(paymentsim.Options{Logger: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	server := httptest.NewServer(http.StripPrefix("/pay/v9", p.Handler()))
	t.Cleanup(server.Close)
	for n, base := range []string{server.URL + "/pay/v9", server.URL + "/pay/v9/", server.URL + "/pay/v9//"} {
		c := payment.New(payment.Options{URL: base})
		t.Cleanup(c.Close)
		id := fmt.Sprint("o", n)
		if _, err := c.Charge(t.Context(), of(id, "tok_ok")); err != nil {
			t.Errorf("request with base URL %s: %v", base, err)
		}
		if list, err := c.ChargesOf(t.Context(), id); err != nil || len(list) != 1 || list[0].Currency != "EUR" {
			t.Errorf("ChargesOf with base URL %s = %v, %v, want one charge", base, list, err)
		}
		if _, err := c.Refund(t.Context(), payment.Entry{OrderID: id}); err != nil {
			t.Errorf("request with base URL %s: %v", base, err)
		}
	}
}

// TestInvalidResponsesOpenTheBreaker: a provider with invalid responses is down.
func TestInvalidResponsesOpenTheBreaker(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"200, no field": respond(200, "{}"), "301": respond(301, "", "https://elsewhere.example/"), "402, HTML": respond(402, html),
		"404, HTML": respond(404, html),
		"pending":   respond(200, `{"id":"ch_1","status":"pending","orderId":"o","amount":500,"currency":"EUR"}`),
	} {
		server := httptest.NewServer(h)
		c := payment.New(payment.Options{URL: server.URL, Breaker: payment.Breaker{Failures: 3, Open: time.Hour}})
		for n := range 4 {
			_, err := c.Charge(t.Context(), of("o", "tok_ok"))
			if err == nil || strings.Contains(err.Error(), "circuit breaker") != (n == 3) {
				t.Errorf("%s: error of call %d = %v, want one of the circuit breaker only for the fourth", name, n, err)
			}
		}
		c.Close()
		server.Close()
	}
}

// TestRepeatedRequestsReturnTheSame: a repeated charge and a repeated refund return the first
// one's id.
func TestRepeatedRequestsReturnTheSame(t *testing.T) {
	t.Parallel()
	c, _ := provider(t, 0)
	var ids, refunds [2]string
	for n := range ids {
		var err error
		ids[n], err = c.Charge(t.Context(), of("o", "tok_ok"))
		require.NoError(t, err)
	}
	for n := range refunds {
		var err error
		refunds[n], err = c.RefundCharge(t.Context(), payment.Entry{OrderID: "o", ID: ids[0], Amount: 500, Currency: "EUR"})
		require.NoError(t, err)
	}
	if ids[0] == "" || ids[0] != ids[1] || refunds[0] == "" || refunds[0] != refunds[1] {
		t.Errorf("charges %q and refunds %q, want the same id for each repetition", ids, refunds)
	}
}

func TestLongTextsAreCutAndLongIDsInvalid(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(`no\u0000`, 60_000)
	for status, body := range map[int]string{
		402: `{"code":"card_declined","message":"` + long + `"}`,
		201: `{"id":"ch_1","status":"failed","orderId":"o","amount":500,"currency":"EUR","code":"` + long + `","message":"` + long + `"}`,
	} {
		_, err := client(t, respond(status, body), 0).Charge(t.Context(), of("o", "tok_ok"))
		d, ok := errors.AsType[*payment.DeclinedError](err)
		if !ok || len(d.Code) > 4*text.MaxID || utf8.RuneCountInString(d.Message) != text.Max || strings.Contains(d.Message, "\x00") {
			t.Errorf("status %d: error = %.200v, want Declined with short texts", status, err)
		}
	}
	_, err := client(t, respond(500, `{"code":"`+long+`","message":"`+long+`"}`), 0).Refund(t.Context(), payment.Entry{OrderID: "o"})
	if err == nil || utf8.RuneCountInString(err.Error()) > text.Max {
		t.Errorf("error = %.200v, want at most %d characters", err, text.Max)
	}
	id := strings.Repeat("x", text.MaxID+1)
	charge, err := client(
		t,
		respond(200, `{"id":"`+id+`","status":"succeeded","orderId":"o","amount":500,"currency":"EUR"}`),
		0,
	).Charge(t.Context(), of("o", "tok_ok"))
	if charge != "" || err == nil || final(err) {
		t.Errorf("Charge with a long id = %q, %v, want an error that is not final", charge, err)
	}
	refund, err := client(
		t,
		respond(200, `{"id":"`+id+`","status":"succeeded","orderId":"o","chargeId":"ch_1","amount":500,"currency":"EUR"}`),
		0,
	).RefundCharge(t.Context(), made)
	if refund != "" || err == nil {
		t.Errorf("RefundCharge with a long id = %q, %v, want an error", refund, err)
	}
}

func TestRetryAfterIsUsedWith429And503Only(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	date := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC) // the provider's clock may be wrong
	for _, c := range []struct {
		status int
		value  string
		want   time.Duration
	}{
		{429, "1", time.Second},
		{503, " 120 ", 2 * time.Minute},
		{429, date.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		{429, date.Add(-time.Hour).Format(http.TimeFormat), 0},
		{429, date.AddDate(400, 0, 0).Format(http.TimeFormat), day},
		{429, "18446744073709551615", day},
		{429, "-1", 0},
		{429, "1.5", 0},
		{429, "soon", 0},
		{429, "", 0},
		{500, "1", 0},
		{402, "1", 0},
		{404, "1", 0},
	} {
		p := client(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", c.value)
			w.Header().Set("Date", date.Format(http.TimeFormat))
			w.WriteHeader(c.status)
		}), 0)
		_, charge := p.Charge(t.Context(), of("o", "tok_ok"))
		_, refund := p.Refund(t.Context(), payment.Entry{OrderID: "o"})
		for _, err := range []error{charge, refund} {
			asks, ok := errors.AsType[interface {
				error
				RetryAfter() time.Duration
			}](err)
			if err == nil || ok && asks.RetryAfter() != c.want || !ok && c.want > 0 {
				t.Errorf("status %d with Retry-After %q: error = %v, want a delay of %s", c.status, c.value, err, c.want)
			}
		}
	}
}
