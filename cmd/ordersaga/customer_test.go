package main

import (
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestCustomerForgetReportsOpenOrders(t *testing.T) {
	t.Parallel()
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 100})
	s.place("done", "tok_ok", 100, order.StatusCompleted)
	s.place("asked", "tok_ok", 100_000, order.StatusAwaitingApproval)
	if _, err := s.Parts.Engine.Wait(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	// An open order remains, so the command fails.
	status, out, errs := s.run("customer", "forget", "c-1", "--by", "ann", "--note", "by letter")
	const want = "erased 1 orders, deleted 0 dead letters, 1 orders still open\n"
	if status != 1 || out != want || !strings.Contains(errs, "were not erased: asked; repeat") {
		t.Errorf("forget c-1: status %d, output %q, errors %q, want 1 and the open order asked", status, out, errs)
	}
	if out := s.prints([]string{"ann: forget by letter"}, "saga", "show", "done"); strings.Contains(out, "c-1") {
		t.Errorf("the order still has its customer, want c-1 erased: %s", out)
	}
	s.prints([]string{"cancel he called"}, "saga", "cancel", "asked", "--for", "customer", "--note", "he called")
	s.until("asked", order.StatusCancelled)
	if rec, err := s.Store.Get(t.Context(), "asked"); err != nil || rec.CancelledFor() != "customer" {
		t.Errorf("order asked = %+v, %v, want it cancelled for the customer", rec, err)
	}
	if _, err := s.Parts.Engine.Wait(t.Context(), "asked"); err != nil {
		t.Fatal(err)
	}
	s.prints([]string{`"erased": 1`, `"open": []`, `"complete": true`}, "customer", "forget", "c-1", "-o", "json")
	s.prints([]string{"erased 0 orders"}, "customer", "forget", "c-1")
}
