package paymentsim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/paymentsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type sim struct {
	*testing.T
	provider *paymentsim.Provider
	url      string
	client   *http.Client
	stop     func()
}

func open(t *testing.T, o paymentsim.Options) *sim {
	t.Helper()
	o.Logger = zerolog.Nop()
	p, err := paymentsim.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p.Handler())
	s := &sim{T: t, provider: p, url: server.URL, client: server.Client()}
	s.stop = sync.OnceFunc(func() {
		server.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// response is the union of the API's responses.
type response struct {
	status     int
	retryAfter string
	ID, Code, Message,
	ChargeID, Status, Next string
	Amount           int64
	Charges, Refunds []struct {
		ID, OrderID, RefundID string
		Amount                int64
		Refunded              bool
	}
}

func (s *sim) do(method, path, key, body string) (response, error) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	a := response{status: res.StatusCode, retryAfter: res.Header.Get("Retry-After")}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &a); err != nil {
			s.Fatalf("%s: %v", b, err)
		}
	}
	return a, nil
}

func (s *sim) call(method, path, key, body string) response {
	s.Helper()
	a, err := s.do(method, path, key, body)
	if err != nil {
		s.Fatal(err)
	}
	return a
}

func (s *sim) charge(orderID, token string) response {
	s.Helper()
	return s.call(http.MethodPost, "/v1/charges", "charge-"+orderID, chargeBody(orderID, token))
}

func chargeBody(orderID, token string) string {
	return fmt.Sprintf(`{"orderId":%q,"amount":500,"currency":"EUR","token":%q}`, orderID, token)
}

func (s *sim) refund(orderID string) response {
	s.Helper()
	return s.call(http.MethodPost, "/v1/refunds", "refund-"+orderID, fmt.Sprintf(`{"orderId":%q,"chargeKey":"charge-%s"}`, orderID, orderID))
}

// count returns the number of charges and refunds of an order in the lists; "" means all orders.
func (s *sim) count(orderID string) (charges, refunds int) {
	s.Helper()
	return len(
			s.call(http.MethodGet, "/v1/charges?orderId="+orderID, "", "").Charges,
		), len(
			s.call(http.MethodGet, "/v1/refunds?orderId="+orderID, "", "").Refunds,
		)
}

func TestTokenSelectsTheOutcome(t *testing.T) {
	t.Parallel()
	s := open(t, paymentsim.Options{HangFor: time.Millisecond})
	for token, attempts := range map[string][]string{ // the response to each attempt
		"tok_ok":                 {"200 ", "200 "},
		"tok_declined":           {"402 card_declined", "402 card_declined"},
		"tok_insufficient_funds": {"402 insufficient_funds", "402 insufficient_funds"},
		"tok_flaky_0":            {"200 "},
		"tok_flaky_2":            {"503 unavailable", "503 unavailable", "200 ", "200 "},
		"tok_rate_limited_1":     {"429 rate_limited", "200 ", "200 "},
		"tok_timeout":            {"504 timeout", "504 timeout"},
		"tok_lost_response":      {"lost", "200 ", "200 "},
		"tok_lost_always":        {"lost", "lost", "lost"},
		"tok_down":               {"503 down", "503 down"},
		"tok_refund_down":        {"200 ", "200 "},
		"tok_flaky_x":            {"402 invalid_token", "402 invalid_token"},
		"tok_flaky_-1":           {"402 invalid_token"},
		"tok_unknown":            {"402 invalid_token"},
	} {
		t.Run(token, func(t *testing.T) {
			for i, want := range attempts {
				got := "lost"
				// A transport retries a request on a reused connection if that
				// breaks: each attempt gets its own connection.
				s.client.CloseIdleConnections()
				a, err := s.do(http.MethodPost, "/v1/charges", "charge-"+token, chargeBody(token, token))
				if err == nil {
					got = fmt.Sprint(a.status, " ", a.Code)
				} else if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				if got != want {
					t.Errorf("attempt %d = %s, want %s", i+1, got, want)
				}
				if (a.status == 429) != (a.retryAfter != "") {
					t.Errorf("attempt %d has status %d and Retry-After %q, want one with status 429 only", i+1, a.status, a.retryAfter)
				}
				if a.status == 200 && (a.ID != "ch_charge-"+token || a.Amount != 500 || a.Status != "succeeded") {
					t.Errorf("attempt %d = %+v, want the charge ch_charge-%s of 500, succeeded", i+1, a, token)
				}
			}
			want := 0
			if last := attempts[len(attempts)-1]; last == "200 " || last == "lost" {
				want = 1
			}
			if n, _ := s.count(token); n != want {
				t.Errorf("the list has %d charges, want %d", n, want)
			}
		})
	}
}

func TestHealEndsOutages(t *testing.T) {
	t.Parallel()
	s := open(t, paymentsim.Options{})
	s.charge("down", "tok_down")
	s.charge("r", "tok_refund_down")
	if a := s.refund("r"); a.status != 503 || a.Code != "refunds_down" {
		t.Errorf("refund(r) = %+v, want status 503, Code refunds_down", a)
	}
	if a := s.call(http.MethodPost, "/v1/heal?token=tok_down", "", ""); a.status != 204 {
		t.Errorf("POST /v1/heal?token=tok_down = %+v, want status 204", a)
	}
	if a := s.charge("down", "tok_down"); a.status != 200 {
		t.Errorf("charge(down, tok_down) = %+v, want status 200", a)
	}
	if a := s.refund("r"); a.status != 503 {
		t.Errorf("refund during the other outage = %+v, want status 503", a)
	}
	s.call(http.MethodPost, "/v1/heal", "", "")
	if a := s.refund("r"); a.status != 200 || a.ID != "re_charge-r" || a.ChargeID != "ch_charge-r" || a.Amount != 500 {
		t.Errorf("refund(r) = %+v, want status 200, ID re_charge-r, ChargeID ch_charge-r, Amount 500", a)
	}
}

func TestRefundOnceAndVoidUnknownKeys(t *testing.T) {
	t.Parallel()
	s := open(t, paymentsim.Options{})
	s.charge("paid", "tok_ok")
	for range 2 {
		if a := s.refund("paid"); a.status != 200 || a.ID != "re_charge-paid" || a.Status != "succeeded" {
			t.Errorf("refund(paid) = %+v, want status 200, ID re_charge-paid, Status succeeded", a)
		}
	}
	if c, r := s.count("paid"); c != 1 || r != 1 {
		t.Errorf("the lists have %d charges and %d refunds, want 1 and 1", c, r)
	}
	if a := s.charge("paid", "tok_ok"); a.status != 200 {
		t.Errorf("charge(paid, tok_ok) = %+v, want status 200", a)
	}
	if c, r := s.count("paid"); c != 1 || r != 1 {
		t.Errorf("after a late repetition the lists have %d charges and %d refunds, want 1 and 1", c, r)
	}

	for range 2 {
		if a := s.refund("never"); a.status != 200 || a.ID != "" || a.Status != "voided" {
			t.Errorf("refund(never) = %+v, want status 200, no ID, Status voided", a)
		}
		if a := s.charge("never", "tok_ok"); a.status != 409 || a.Code != "charge_voided" {
			t.Errorf("charge after its refund = %+v, want 409 charge_voided", a)
		}
	}
	s.charge("declined", "tok_declined")
	if a := s.refund("declined"); a.Status != "voided" {
		t.Errorf("refund(declined) = %+v, want Status voided", a)
	}
	for _, id := range []string{"never", "declined"} {
		if c, r := s.count(id); c != 0 || r != 0 {
			t.Errorf("order %s has %d charges and %d refunds in the lists, want none", id, c, r)
		}
	}
}

// TestExpiredKeysKeepTheCharges: the ledger keeps the charges, and each can be refunded; the keys are as if
// they had never been used.
func TestExpiredKeysKeepTheCharges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, paymentsim.Options{Dir: dir})
	s.charge("o", "tok_ok")
	s.refund("never")
	for _, want := range []string{"ch_charge-o.2", "ch_charge-o.3"} {
		if a := s.call(http.MethodPost, "/v1/forget", "", ""); a.status != 204 {
			t.Errorf("POST /v1/forget = %+v, want status 204", a)
		}
		if a := s.charge("o", "tok_ok"); a.status != 200 || a.ID != want {
			t.Errorf("charge with an expired key = %+v, want id %s", a, want)
		}
	}
	if a := s.charge("never", "tok_ok"); a.status != 200 {
		t.Errorf("charge(never, tok_ok) = %+v, want status 200", a)
	}
	s.stop()
	s = open(t, paymentsim.Options{Dir: dir})
	if a := s.refund("o"); a.ID != "re_charge-o.3" {
		t.Errorf("refund(o) = %+v, want ID re_charge-o.3", a)
	}
	for range 2 {
		if a := s.call(http.MethodPost, "/v1/refunds", "k", `{"orderId":"o","chargeId":"ch_charge-o"}`); a.status != 200 ||
			a.ID != "re_charge-o" {
			t.Errorf("refund of the first charge = %+v, want status 200, ID re_charge-o", a)
		}
	}
	if c, r := s.count("o"); c != 3 || r != 2 {
		t.Errorf("the lists have %d charges and %d refunds, want 3 and 2", c, r)
	}
	for body, code := range map[string]string{
		`{"orderId":"o","chargeId":"ch_x"}`:               "no_such_charge",
		`{"orderId":"o","chargeId":"void_charge-never"}`:  "no_such_charge",
		`{"orderId":"p","chargeId":"ch_charge-o"}`:        "order_mismatch",
		`{"orderId":"o","chargeKey":"c","chargeId":"ch"}`: "invalid_request",
	} {
		if a := s.call(http.MethodPost, "/v1/refunds", "k", body); a.Code != code {
			t.Errorf("request %s = %+v, want the code %s", body, a, code)
		}
	}
}

func TestKeyOfAnotherChargeIsRejected(t *testing.T) {
	t.Parallel()
	s := open(t, paymentsim.Options{})
	s.charge("o", "tok_ok")
	for _, body := range []string{
		`{"orderId":"o","amount":501,"currency":"EUR","token":"tok_ok"}`,
		`{"orderId":"o","amount":500,"currency":"USD","token":"tok_ok"}`,
		`{"orderId":"p","amount":500,"currency":"EUR","token":"tok_ok"}`,
	} {
		if a := s.call(http.MethodPost, "/v1/charges", "charge-o", body); a.status != 409 || a.Code != "idempotency_mismatch" {
			t.Errorf("request %s = %+v, want 409 idempotency_mismatch", body, a)
		}
	}
	if a := s.call(http.MethodPost, "/v1/refunds", "k", `{"orderId":"p","chargeKey":"charge-o"}`); a.status != 409 ||
		a.Code != "order_mismatch" {
		t.Errorf("refund of the charge of order o for order p = %+v, want status 409, Code order_mismatch", a)
	}
	if c, r := s.count("o"); c != 1 || r != 0 {
		t.Errorf("the lists have %d charges and %d refunds, want 1 and 0", c, r)
	}
}

func TestConcurrentAttemptsChargeOnce(t *testing.T) {
	t.Parallel()
	s := open(t, paymentsim.Options{})
	var g sync.WaitGroup
	for range 32 {
		g.Go(func() {
			if a, err := s.do(http.MethodPost, "/v1/charges", "charge-o", chargeBody("o", "tok_ok")); err != nil || a.status != 200 {
				t.Errorf("concurrent charge = %+v, %v, want status 200", a, err)
			}
			if _, err := s.do(http.MethodPost, "/v1/refunds", "r", `{"orderId":"o","chargeKey":"charge-o"}`); err != nil {
				t.Errorf("concurrent refund: %v", err)
			}
		})
	}
	g.Wait()
	if c, r := s.count("o"); c != 1 || r != 1 {
		t.Errorf("the lists have %d charges and %d refunds, want 1 and 1", c, r)
	}
}

func TestInvalidRequestsAreRejected(t *testing.T) {
	t.Parallel()
	s := open(t, paymentsim.Options{})
	good := chargeBody("o", "tok_ok")
	for _, c := range []struct{ path, key, body string }{
		{"/v1/charges", "", good},
		{"/v1/charges", strings.Repeat("k", 129), good},
		{"/v1/charges", "k", ""},
		{"/v1/charges", "k", "{"},
		{"/v1/charges", "k", `{"orderId":"","amount":1,"currency":"EUR","token":"t"}`},
		{"/v1/charges", "k", `{"orderId":"o","amount":-1,"currency":"EUR","token":"t"}`},
		{"/v1/charges", "k", `{"orderId":"o","amount":1.5,"currency":"EUR","token":"t"}`},
		{"/v1/charges", "k", `{"orderId":"o","amount":1,"currency":"EURO","token":"t"}`},
		{"/v1/charges", "k", `{"orderId":"o","amount":1,"currency":"EUR","token":""}`},
		{"/v1/charges", "k", `{"orderId":"` + strings.Repeat("x", 65<<10) + `"}`},
		{"/v1/refunds", "", `{"orderId":"o","chargeKey":"c"}`},
		{"/v1/refunds", "k", `{"orderId":"o"}`},
		{"/v1/refunds", "k", `{"chargeKey":"c"}`},
		{"/v1/refunds", "k", `[]`},
	} {
		if a := s.call(http.MethodPost, c.path, c.key, c.body); a.status != 400 || a.Code != "invalid_request" || a.Message == "" {
			t.Errorf("POST %s %.60s = %+v, want 400 invalid_request", c.path, c.body, a)
		}
	}
	if a := s.call(http.MethodGet, "/v1/charges", "", ""); len(a.Charges) != 0 {
		t.Errorf("charges after invalid requests = %+v, want none", a.Charges)
	}
	if a := s.call(http.MethodPost, "/v1/charges", strings.Repeat("k", 128),
		`{"orderId":"o","amount":0,"currency":"EUR","token":"tok_ok"}`); a.status != 200 {
		t.Errorf("charge of 0 = %+v, want status 200", a)
	}
	if a := s.call(http.MethodGet, "/healthz", "", ""); a.status != 200 || a.Status != "ok" {
		t.Errorf("GET /healthz = %+v, want status 200, Status ok", a)
	}
}

func TestListsHavePages(t *testing.T) {
	t.Parallel()
	s := open(t, paymentsim.Options{})
	var want []string
	for n := range 25 {
		id := fmt.Sprintf("o%02d", n)
		token := "tok_ok"
		if n%5 == 4 {
			token = "tok_declined" // in no list
		} else {
			want = append(want, id)
		}
		s.charge(id, token)
		if n%2 == 0 {
			s.refund(id)
		}
	}
	pages := func(path string) (ids []string) {
		for cursor := ""; ; {
			a := s.call(http.MethodGet, path+"&cursor="+cursor, "", "")
			for _, c := range slices.Concat(a.Charges, a.Refunds) {
				ids = append(ids, c.OrderID)
			}
			if n := len(a.Charges) + len(a.Refunds); n == 0 || n > 7 {
				t.Fatalf("GET %s has a page of %d, want 1 to 7", path, n)
			}
			cursor = a.Next
			if cursor == "" {
				return ids
			}
		}
	}
	if got := pages("/v1/charges?limit=7"); !slices.Equal(got, want) {
		t.Errorf("charges %v, want %v", got, want)
	}
	if got := pages("/v1/charges?limit=5"); !slices.Equal(got, want) { // the last page is full
		t.Errorf("charges %v, want %v", got, want)
	}
	if got := pages("/v1/refunds?limit=3"); !slices.Equal(
		got,
		[]string{"o00", "o02", "o06", "o08", "o10", "o12", "o16", "o18", "o20", "o22"},
	) {
		t.Errorf("refunds %v, want those of the charged orders", got)
	}
	for _, limit := range []string{"0", "-1", "x", "1001"} { // invalid: as without a limit
		if a := s.call(http.MethodGet, "/v1/charges?limit="+limit, "", ""); len(a.Charges) != len(want) {
			t.Errorf("limit %s returns %d charges, want %d", limit, len(a.Charges), len(want))
		}
	}
}

func TestLedgerSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, paymentsim.Options{Dir: dir})
	s.charge("paid", "tok_ok")
	s.charge("refunded", "tok_ok")
	s.refund("refunded")
	s.refund("voided")
	s.charge("declined", "tok_declined")
	s.charge("stuck", "tok_refund_down")
	s.stop()

	s = open(t, paymentsim.Options{Dir: dir})
	for id, want := range map[string]string{
		"paid": "200 ", "refunded": "200 ", "voided": "409 charge_voided",
		"declined": "402 card_declined",
	} {
		token := "tok_ok"
		if id == "declined" {
			token = "tok_declined"
		}
		if a := s.charge(id, token); fmt.Sprint(a.status, " ", a.Code) != want {
			t.Errorf("charge of %s after a restart = %+v, want %s", id, a, want)
		}
	}
	if c, r := s.count(""); c != 3 || r != 1 {
		t.Errorf("the lists have %d charges and %d refunds, want 3 and 1", c, r)
	}
	if a := s.refund("stuck"); a.status != 503 {
		t.Errorf("refund(stuck) = %+v, want status 503", a)
	}
	if a := s.refund("paid"); a.ID != "re_charge-paid" {
		t.Errorf("refund(paid) = %+v, want ID re_charge-paid", a)
	}
}

func TestLedgerIsCompacted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := paymentsim.Options{Dir: dir, CompactAfter: 512}
	s := open(t, o)
	for n := range 20 {
		s.charge(fmt.Sprint("o", n), "tok_ok")
		s.refund(fmt.Sprint("o", n))
	}
	s.stop()
	if found, err := filepath.Glob(filepath.Join(dir, "snapshot-*")); err != nil || len(found) != 1 {
		t.Errorf("snapshots = %v, error %v, want one", found, err)
	}
	s = open(t, o)
	for n := range 20 {
		if charges, refunds := s.count(fmt.Sprint("o", n)); charges != 1 || refunds != 1 {
			t.Errorf("order %d has %d charges and %d refunds, want 1 and 1", n, charges, refunds)
		}
	}
}

func TestLedgerHasOneOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, paymentsim.Options{Dir: dir})
	if p, err := paymentsim.Open(paymentsim.Options{Dir: dir, Logger: zerolog.Nop()}); err == nil {
		t.Errorf("the ledger was opened twice, want an error; close: %v", p.Close())
	}
	s.stop()
}
