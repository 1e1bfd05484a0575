package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
)

func (c client) accepted(a answer) sagaView {
	c.t.Helper()
	if a.status != http.StatusAccepted {
		c.t.Fatalf("%d %s", a.status, a.body)
	}
	var v sagaView
	a.json(c.t, &v)
	return v
}

func TestApproveAndReject(t *testing.T) {
	c := start(t)
	c.place(newOrder("yes", expensive), "AWAITING_APPROVAL")
	c.place(newOrder("no", expensive), "AWAITING_APPROVAL")
	c.accepted(c.post("/v1/sagas/yes/approve", `{"by":"ann","note":"known customer"}`))
	c.accepted(c.post("/v1/sagas/no/reject", `{"by":"bob","note":"too much"}`))
	yes, no := c.until("yes", "COMPLETED"), c.until("no", "CANCELLED")
	if len(yes.Notes) != 1 || yes.Notes[0].Actor != "ann" || yes.Notes[0].Action != "approve" || yes.Notes[0].Text != "known customer" {
		t.Errorf("notes: %+v", yes.Notes)
	}
	if !strings.Contains(no.Reason, "bob: too much") {
		t.Errorf("reason: %s", no.Reason)
	}
}

func TestCancel(t *testing.T) {
	c := start(t)
	c.place(newOrder("o", expensive), "AWAITING_APPROVAL")
	v := c.accepted(c.post("/v1/sagas/o/cancel", `{"by":"customer"}`))
	if !v.CancelRequested {
		t.Errorf("%+v", v)
	}
	if v := c.until("o", "CANCELLED"); !strings.Contains(v.Reason, "customer") || v.Cancellable {
		t.Errorf("%+v", v)
	}
	c.post("/v1/sagas/o/cancel", "").wantProblem(t, "again", http.StatusConflict, "", "CANCELLED")

	c.place(newOrder("shipping", shipTo("SILENT")), "PAID")
	for v := c.until("shipping", "PAID"); v.ShipmentID == ""; {
		v = c.until("shipping", "PAID")
	}
	c.post("/v1/sagas/shipping/cancel", "").wantProblem(t, "shipping", http.StatusConflict, "", "shipment has been requested")
}

func TestRetry(t *testing.T) {
	c := start(t)
	stuck := func(o *order.Order) { o.Payment.Token = "tok_refund_down"; shipTo("REFUSE")(o) }
	c.place(newOrder("retry", stuck), "NEEDS_ATTENTION")
	c.place(newOrder("byhand", stuck), "NEEDS_ATTENTION")
	c.accepted(c.post("/v1/sagas/byhand/retry", `{"action":"resolve","by":"ann","note":"refunded at the bank"}`))
	c.until("byhand", "FAILED")
	if err := c.Simulators.HealPayments(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.accepted(c.post("/v1/sagas/retry/retry", ""))
	v := c.until("retry", "FAILED")
	if len(v.Notes) != 1 || v.Notes[0].Action != "retry" || v.Notes[0].Actor != "anonymous" {
		t.Errorf("notes: %+v", v.Notes)
	}
	if l := c.get("/v1/stock/A"); !strings.Contains(l.body, `"reserved":0,"sold":0`) {
		t.Error(l.body)
	}
}

func TestReconcile(t *testing.T) {
	c := start(t)
	c.place(newOrder("o", nil), "COMPLETED")
	a := c.post("/v1/reconcile", "")
	if a.status != http.StatusOK || !strings.Contains(a.body, `"reservationsChecked":1`) || !strings.Contains(a.body, `"findings":[]`) {
		t.Error(a.status, a.body)
	}
}

// FuzzPostOrder: whatever the body, the answer is 202 or a problem of the
// caller's, and never shows the token.
func FuzzPostOrder(f *testing.F) {
	c := start(f)
	for _, seed := range []string{newOrder("x", nil), "{}", "", "[", `{"orderId":"x","lines":[{}]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c := c
		c.t = t
		a := c.post("/v1/sagas", body)
		if a.status != http.StatusAccepted && (a.status < 400 || a.status > 499) {
			t.Fatalf("%d %s", a.status, a.body)
		}
	})
}
