package main

import (
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestCustomerForget(t *testing.T) {
	s := shell{t, testkit.NewSystem(t, nil, nil)}
	s.SetStock(t, map[string]int64{"A": 100})
	s.place("done", "tok_ok", 100, order.StatusCompleted)
	s.place("asked", "tok_ok", 100_000, order.StatusAwaitingApproval)
	if _, err := s.Parts.Engine.Wait(t.Context(), "done"); err != nil {
		t.Fatal(err)
	}
	// What is left is no success.
	status, out, errs := s.run("customer", "forget", "c-1", "--by", "ann", "--note", "by letter")
	if status != 1 || out != "1 orders erased, 0 dead letters deleted, 1 orders open\n" || !strings.Contains(errs, "not ended: asked; repeat") {
		t.Errorf("%d %q %q", status, out, errs)
	}
	if out := s.says([]string{"ann: forget by letter"}, "saga", "show", "done"); strings.Contains(out, "c-1") {
		t.Error(out)
	}
	s.says([]string{"cancel he called"}, "saga", "cancel", "asked", "--for", "customer", "--note", "he called")
	s.until("asked", order.StatusCancelled)
	if rec, err := s.Store.Get(t.Context(), "asked"); err != nil || rec.CancelledFor() != "customer" {
		t.Errorf("%+v %v", rec, err)
	}
	if _, err := s.Parts.Engine.Wait(t.Context(), "asked"); err != nil {
		t.Fatal(err)
	}
	s.says([]string{`"erased": 1`, `"open": []`, `"complete": true`}, "customer", "forget", "c-1", "-o", "json")
	s.says([]string{"0 orders erased"}, "customer", "forget", "c-1")
}
