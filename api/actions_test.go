package api_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

func (c client) accepted(a answer) sagaView {
	c.t.Helper()
	if a.status != http.StatusAccepted {
		c.t.Fatalf("status = %d, body = %s, want 202", a.status, a.body)
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
		t.Errorf("notes = %+v, want one: approve by ann with the text known customer", yes.Notes)
	}
	if !strings.Contains(no.Reason, "bob: too much") {
		t.Errorf("reason = %s, want it to contain bob: too much", no.Reason)
	}
}

func TestCancelEndsTheSagaBeforeItsShipment(t *testing.T) {
	c := start(t)
	c.place(newOrder("o", expensive), "AWAITING_APPROVAL")
	v := c.accepted(c.post("/v1/sagas/o/cancel", `{"by":"customer"}`))
	if !v.CancelRequested {
		t.Errorf("saga = %+v, want CancelRequested", v)
	}
	if v := c.until("o", "CANCELLED"); !strings.Contains(v.Reason, "customer") || v.Cancellable {
		t.Errorf("saga = %+v, want the customer in its reason, and not Cancellable", v)
	}
	c.post("/v1/sagas/o/cancel", "").wantProblem(t, "again", http.StatusConflict, "", "CANCELLED")

	c.place(newOrder("shipping", shipTo("SILENT")), "PAID")
	for v := c.until("shipping", "PAID"); v.ShipmentID == ""; {
		v = c.until("shipping", "PAID")
	}
	c.post("/v1/sagas/shipping/cancel", "").wantProblem(t, "shipping", http.StatusConflict, "", "shipment has been requested")
}

func TestResolveContinuesAStuckSaga(t *testing.T) {
	c := start(t)
	stuck := func(o *order.Order) { o.Payment.Token = "tok_refund_down"; shipTo("REFUSE")(o) }
	c.place(newOrder("retry", stuck), "NEEDS_ATTENTION")
	c.place(newOrder("byhand", stuck), "NEEDS_ATTENTION")
	c.accepted(c.post("/v1/sagas/byhand/resolve", `{"action":"resolve","by":"ann","note":"refunded at the bank"}`))
	c.until("byhand", "FAILED")
	if rec, err := c.Store.Get(t.Context(), "byhand"); err != nil || !slices.Equal(rec.Settled, []string{workflows.StepCharge}) {
		t.Errorf("settled = %v, error = %v, want [%s]", rec.Settled, err, workflows.StepCharge)
	}
	if err := c.Simulators.HealPayments(t.Context()); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	c.accepted(c.post("/v1/sagas/retry/resolve", ""))
	v := c.until("retry", "FAILED")
	if len(v.Notes) != 2 || v.Notes[0].Actor != "carrier" || v.Notes[1].Action != "retry" || v.Notes[1].Actor != "anonymous" {
		t.Errorf("notes = %+v, want one of the carrier, then a retry by anonymous", v.Notes)
	}
	if l := c.get("/v1/stock/A"); !strings.Contains(l.body, `"reserved":0,"sold":0,`) {
		t.Errorf("stock = %v, want none reserved and none sold", l.body)
	}
}

func TestReconcileReturnsTheReport(t *testing.T) {
	c := start(t)
	c.place(newOrder("o", nil), "COMPLETED")
	a := c.post("/v1/reconcile", "")
	if a.status != http.StatusOK || !strings.Contains(a.body, `"reservationsChecked":1,`) || !strings.Contains(a.body, `"findings":[]`) {
		t.Errorf("status = %v, body = %v, want 200, one reservation checked and no findings", a.status, a.body)
	}
	if now := c.get("/v1/reconcile"); now.status != http.StatusOK || now.body != a.body || !strings.Contains(now.body, `"running":false`) {
		t.Errorf("status = %v, body = %v, want 200, running false and the body of the POST: %s", now.status, now.body, a.body)
	}
}

// TestResolvingTheLastStepCompletesTheOrder: an operator's skip or resolve of the last step
// completes the order.
func TestResolvingTheLastStepCompletesTheOrder(t *testing.T) {
	t.Parallel()
	for _, awaits := range []bool{true, false} {
		s := testkit.NewSystem(t, func(w *worker.Worker) { w.Terms.AwaitCarrier = awaits }, nil)
		s.SetStock(t, map[string]int64{"A": 6})
		c := newClient(t, s)
		c.place(newOrder("well", shipTo("Ada")), "COMPLETED") // the worker runs
		gone := s.Resources.ShipmentTopic
		if awaits {
			gone = s.Resources.CustomerTopic
		}
		if _, err := s.Clients.SNS.DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &gone}); err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		for _, action := range []string{"skip", "resolve"} {
			c.place(newOrder(action, shipTo("Ada")), "NEEDS_ATTENTION")
			testkit.Eventually(t, "the saga waits for a person", func() error {
				a := c.post("/v1/sagas/"+action+"/resolve", `{"by":"ann","action":"`+action+`"}`)
				if a.status != http.StatusAccepted {
					return errors.New(a.body)
				}
				return nil
			})
			if v := c.until(action, "COMPLETED"); v.ShipmentID == "" {
				t.Errorf("saga = %+v, want a ShipmentID", v)
			}
		}
		if l := c.get("/v1/stock/A"); !strings.Contains(l.body, `"reserved":0,"sold":6,`) {
			t.Errorf("stock = %v, want none reserved and 6 sold", l.body)
		}
	}
}

// TestReconcileDoesNotWaitForALongRun: the response reports the progress of a run that takes
// long.
func TestReconcileDoesNotWaitForALongRun(t *testing.T) {
	b := newBench(t)
	a := b.post("/v1/reconcile", "")
	if a.status != http.StatusAccepted || a.header.Get("Location") != "/v1/reconcile" || !strings.Contains(a.body,
		`"ordersChecked":7`) || !strings.Contains(a.body, `"running":true`) {
		t.Errorf("status = %v, headers = %v, body = %v, want 202, Location /v1/reconcile, ordersChecked 7 and running true",
			a.status, a.header, a.body)
	}
	if now := b.get(a.header.Get("Location")); now.status != http.StatusOK || now.body != a.body {
		t.Errorf("status = %v, body = %v, want 200 and %s", now.status, now.body, a.body)
	}
}

// TestCancelEndsAnOrderWithoutAWorker: an order ends even if no worker has taken it yet. (This
// order requires approval: another order might be shipped before its saga is notified.)
func TestCancelEndsAnOrderWithoutAWorker(t *testing.T) {
	c := start(t)
	if _, _, err := c.Store.Accept(t.Context(), mustParse(t, newOrder("o", expensive))); err != nil { // and its message is slow
		t.Fatalf("unexpected error: %v", err)
	}
	c.accepted(c.post("/v1/sagas/o/cancel", `{"by":"customer"}`))
	c.until("o", "CANCELLED")
	if err := (intake.Publisher{Topic: snspublisher.New(c.Clients.SNS, c.Resources.OrderTopic)}).PublishOrder(t.Context(),
		mustParse(t, newOrder("o", expensive))); err != nil { // here it comes
		t.Fatalf("unexpected error: %v", err)
	}
	testkit.Eventually(t, "the message is taken in", func() error {
		if say := `ordersaga_intake_messages_total{outcome="done",queue="orders"} 1`; !strings.Contains(c.get("/metrics").body, say) {
			return errors.New("not yet")
		}
		return nil
	})
	if v := c.until("o", "CANCELLED"); len(v.Notes) != 1 || v.ShipmentID != "" {
		t.Errorf("saga = %+v, want one note and no ShipmentID", v)
	}
	if l := c.get("/v1/stock/A"); !strings.Contains(l.body, `"reserved":0,"sold":0,`) {
		t.Errorf("stock = %v, want none reserved and none sold", l.body)
	}
}

// FuzzPostOrder: for every body, the response is 202 or a problem of the caller, and never
// shows the token.
func FuzzPostOrder(f *testing.F) {
	c := start(f)
	for _, seed := range []string{newOrder("x", nil), newOrder("x", shipTo("Ada")), "{}", "", "[", `{"orderId":"x","lines":[{}]}`} {
		f.Add(seed)
	}
	for body := range badOrders() {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c := c
		c.t = t
		o, invalid := order.Parse([]byte(body))
		for _, path := range []string{"/v1/orders", "/v1/sagas"} {
			a := c.post(path, body)
			switch {
			case a.status == http.StatusConflict && invalid == nil: // the id was used before
			case a.status == http.StatusAccepted && invalid == nil:
			case (a.status == http.StatusBadRequest || a.status == http.StatusRequestEntityTooLarge ||
				a.status == http.StatusUnprocessableEntity) && invalid != nil:
				var p problem
				a.json(t, &p)
				if len(p.Errors) == 0 || !strings.HasPrefix(p.Errors[0].Location, "body") {
					t.Fatalf("body = %s, want a first error with a location in the body", a.body)
				}
			default:
				t.Fatalf("status = %d, body = %s, want 202 or 409 for a valid order, else 400, 413 or 422 (error of Parse = %v)",
					a.status, a.body, invalid)
			}
			// A token as short as a word of the answer proves nothing.
			if tok := o.Payment.Token; len(tok) > 5 && tok != o.OrderID && strings.Contains(a.body, tok) {
				t.Fatalf("body = %s, want it without the token %s", a.body, tok)
			}
		}
	})
}
