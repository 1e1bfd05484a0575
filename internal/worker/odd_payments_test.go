package worker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// oddAnswer is what a proxy before the provider answers to one kind of call of an order.
type oddAnswer struct {
	call   string // charge or refund
	proven bool   // it was charged, and the carrier refuses it; the provider then lists no charge
	passed bool   // the provider executed the call, and its answer is dropped
	status int
	body   string
	want   order.Status
}

// TestOddAnswersShipNothing: whatever a proxy answers to a charge, no order ships that is
// not paid, and none that ends keeps money; a refund that is not proven is none.
func TestOddAnswersShipNothing(t *testing.T) {
	const html, right = "<html>", `{"id":"ch_1","status":"%s","orderId":"%s","amount":%d,"currency":"%s"}`
	odd := map[string]oddAnswer{}
	for name, o := range map[string]oddAnswer{
		"empty-object":    {status: 200, body: `{}`},
		"empty-id":        {status: 200, body: `{"id":"","status":"succeeded"}`},
		"failed":          {status: 200, body: `{"id":"ch_1","status":"failed"}`},
		"pending":         {status: 202, body: `{"id":"ch_1","status":"pending"}`},
		"pending-200":     {status: 200, body: fmt.Sprintf(right, "pending", "$ID", 5, "EUR")},
		"requires-action": {status: 200, body: fmt.Sprintf(right, "requires_action", "$ID", 5, "EUR")},
		"unknown-status":  {status: 200, body: fmt.Sprintf(right, "captured?", "$ID", 5, "EUR")},
		"other-order":     {status: 200, body: fmt.Sprintf(right, "succeeded", "another", 5, "EUR")},
		"other-amount":    {status: 200, body: fmt.Sprintf(right, "succeeded", "$ID", 4, "EUR")},
		"other-currency":  {status: 200, body: fmt.Sprintf(right, "succeeded", "$ID", 5, "USD")},
		"a-list":          {status: 200, body: `{"charges":[],"next":""}`},
		"html":            {status: 200, body: html},
		"nothing":         {status: 204},
		"html-402":        {status: 402, body: html},
		"html-409":        {status: 409, body: html},
		"moved":           {status: 301},
		"moved-308":       {status: 308},
	} {
		o.call, o.want = "charge", order.StatusFailed
		odd["never-"+name] = o
		o.passed = true
		odd["made-"+name] = o
	}
	declined := oddAnswer{call: "charge", status: 200, body: fmt.Sprintf(right, "failed", "$ID", 5, "EUR"), want: order.StatusDeclined}
	odd["declined-200"] = declined
	declined.passed, declined.want = true, order.StatusFailed // the ledger contradicts it
	odd["declined-and-charged"] = declined
	for name, o := range map[string]oddAnswer{
		"empty-object": {status: 200, body: `{}`},
		"no-id":        {status: 200, body: `{"id":"","status":"succeeded","orderId":"$ID"}`},
		"pending":      {status: 202, body: `{"id":"re_1","status":"pending"}`},
		"moved":        {status: 301},
		"html":         {status: 200, body: html},
		"other-order":  {status: 200, body: `{"id":"re_1","status":"succeeded","orderId":"another","chargeId":"ch_charge-$ID"}`},
	} {
		o.call, o.want = "refund", order.StatusNeedsAttention
		odd["refund-"+name] = o
	}

	odd["refund-voided-of-a-charge"] = oddAnswer{
		call: "refund", proven: true, status: 200, body: `{"status":"voided","orderId":"$ID"}`, want: order.StatusNeedsAttention,
	}
	odd["refund-of-less"] = oddAnswer{
		call: "refund", status: 200, want: order.StatusNeedsAttention,
		body: `{"id":"re_1","status":"succeeded","orderId":"$ID","chargeId":"ch_charge-$ID","amount":4,"currency":"EUR"}`,
	}

	front := httptest.NewUnstartedServer(nil)
	var provider string
	s := testkit.NewSystem(t, func(w *worker.Worker) {
		provider = w.PaymentURL
		front.Config.Handler = oddProxy(t, provider, odd)
		front.Start()
		w.PaymentURL = front.URL + "/" // a trailing slash must do no harm
	}, nil)
	t.Cleanup(front.Close)
	t.Cleanup(s.StopWorker) // before the front
	s.SetStock(t, map[string]int64{"A": 1000})
	for id, o := range odd {
		token := "tok_ok"
		if o.call == "refund" && !o.proven {
			token = "tok_lost_always"
		}
		recipient := ""
		if o.proven {
			recipient = "REFUSE"
		}
		body := fmt.Sprintf(`{"orderId":%q,"customerId":"c","currency":"EUR","lines":[{"sku":"A","quantity":1,"unitPrice":5}],`+
			`"payment":{"token":%q},"shipTo":{"name":%q}}`, id, token, recipient)
		res, err := http.Post(s.API+"/v1/orders", "application/json", strings.NewReader(body))
		if err != nil || res.StatusCode != http.StatusAccepted {
			t.Fatalf("place order %s: %v (%v), want 202", id, res, err)
		}
		_ = res.Body.Close()
	}
	for id, o := range odd {
		testkit.Eventually(t, id, func() error {
			rec, err := s.Store.Get(t.Context(), id)
			if err == nil && rec.Status != o.want {
				err = fmt.Errorf("%s is %s (%s), want %s", id, rec.Status, rec.Reason, o.want)
			}
			return err
		})
		rec, err := s.Store.Get(t.Context(), id)
		charged := rec.ShipmentID != "" || rec.ChargeID != ""
		if err != nil || charged != o.proven || o.call == "refund" && rec.RefundID != "" {
			t.Errorf("%s = %+v (%v), want charged or shipped %t, and no unproven refund", id, rec, err, o.proven)
		}
	}
	payments := payment.New(payment.Options{URL: provider})
	defer payments.Close()
	list, _, err := payments.Charges(t.Context(), "", 1000)
	if err != nil || len(list) == 0 {
		t.Errorf("charges = %v (%v), want some", list, err)
	}
	for _, c := range list {
		if !c.Refunded && odd[c.OrderID].call == "charge" {
			t.Errorf("charge = %+v, want it refunded", c)
		}
	}
	accepted := func(s invariants.Shipment) bool { return !s.Refused }
	if parcels, err := s.Simulators.Shipments(t.Context()); err != nil || slices.ContainsFunc(parcels, accepted) {
		t.Errorf("shipments = %+v (%v), want refused ones only", parcels, err)
	}
}

// oddProxy is a proxy before the provider that gives odd answers.
func oddProxy(t *testing.T, provider string, odd map[string]oddAnswer) http.Handler {
	t.Helper()
	target, err := url.Parse(provider)
	require.NoError(t, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorLog = log.New(io.Discard, "", 0) // lost answers are intended
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var of struct{ OrderID string }
		if err != nil || r.Method == http.MethodPost && json.Unmarshal(body, &of) != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if o := odd[r.URL.Query().Get("orderId")]; o.proven {
			_, _ = io.WriteString(w, `{"charges":[]}`)
			return
		}
		o := odd[of.OrderID]
		if o.call == "" || !strings.HasSuffix(r.URL.Path, "/v1/"+o.call+"s") {
			forward.ServeHTTP(w, r)
			return
		}
		if o.passed {
			forward.ServeHTTP(httptest.NewRecorder(), r)
		}
		if o.status >= 300 && o.status < 400 {
			w.Header().Set("Location", provider+r.URL.Path)
		}
		w.WriteHeader(o.status)
		_, _ = io.WriteString(w, strings.ReplaceAll(o.body, "$ID", of.OrderID))
	})
}
