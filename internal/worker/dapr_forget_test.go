package worker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/workflows"
)

// state is all that the store has, keys and values.
func (b behind) state() string {
	b.Helper()
	return b.cli("EVAL", `local out = {}
		for _, k in ipairs(redis.call('KEYS', '*')) do
			table.insert(out, k)
			local t = redis.call('TYPE', k).ok
			if t == 'hash' then for _, v in ipairs(redis.call('HGETALL', k)) do table.insert(out, v) end end
			if t == 'string' then table.insert(out, redis.call('GET', k)) end
			if t == 'set' then for _, v in ipairs(redis.call('SMEMBERS', k)) do table.insert(out, v) end end
		end
		return table.concat(out, '\n')`, "0")
}

// TestForgetOnDapr: nothing of a customer is left in the state store, but for what
// an open order needs.
func TestForgetOnDapr(t *testing.T) {
	b := newBehind(t)
	for _, x := range []struct {
		id, street string
		price      int64
		step       order.Status
	}{{"done", "Heidestrasse 17", 100, order.StatusCompleted}, {"open", "Domplatz 4", 5_000_000, order.StatusAwaitingApproval}} {
		o := order.Order{
			OrderID: x.id, CustomerID: "c-erika", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"}, ShipTo: &order.Address{Name: "Erika", Line1: x.street},
			Lines: []order.Line{{SKU: "SKU-1", Quantity: 1, UnitPrice: x.price}},
		}
		_, _, err := b.Store.Accept(t.Context(), o)
		must(t, err)
		// As an older release did, with all of it.
		must(t, b.sagas.Start(t.Context(), workflows.OrderSaga, x.id, workflows.State{Order: o.WithoutToken(), Terms: workflows.NewState(o, b.Worker.Terms).Terms}))
		testkit.Eventually(t, x.id+" is "+string(x.step), func() error {
			rec, err := b.Store.Get(t.Context(), x.id)
			if err == nil && rec.Status != x.step {
				err = fmt.Errorf("it is %s", rec.Status)
			}
			return err
		})
	}
	_, err := b.sagas.Wait(t.Context(), "done")
	must(t, err)
	if before := b.state(); !strings.Contains(before, "Heidestrasse") || !strings.Contains(before, "Domplatz") {
		t.Fatal("the store does not have the addresses in a form that can be looked for")
	}
	forget := func() (out api.Forgotten) {
		res, err := http.Post(b.API+"/v1/customers/c-erika/forget", "application/json", strings.NewReader(`{"by":"ann"}`))
		must(t, err)
		defer res.Body.Close()
		must(t, json.NewDecoder(res.Body).Decode(&out))
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		return out
	}
	if out := forget(); out.Erased != 1 || len(out.Open) != 1 || out.Complete {
		t.Errorf("%+v", out)
	}
	if after := b.state(); strings.Contains(after, "Heidestrasse") || !strings.Contains(after, "Domplatz") {
		t.Errorf("the state store has %s", after)
	}
	res, err := http.Post(b.API+"/v1/sagas/open/approve", "application/json", strings.NewReader(`{}`))
	must(t, err)
	must(t, res.Body.Close())
	_, err = b.sagas.Wait(t.Context(), "open")
	must(t, err)
	if out := forget(); out.Erased != 1 || !out.Complete {
		t.Errorf("%+v", out)
	}
	if after := b.state(); strings.Contains(after, "Domplatz") || strings.Contains(after, "rika") {
		t.Errorf("the state store has %s", after)
	}
}
