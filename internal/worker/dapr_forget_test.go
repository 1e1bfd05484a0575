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
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

// state returns everything in the state store, keys and values.
func (b externalChanges) state() string {
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

// TestForgetErasesTheStateStore: nothing of a customer is left in Dapr's state store,
// except what an open order needs.
func TestForgetErasesTheStateStore(t *testing.T) {
	b := newExternalChanges(t)
	for _, x := range []struct {
		id, street string
		price      int64
		step       order.Status
	}{{"done", "Heidestrasse 17", 100, order.StatusCompleted}, {"open", "Domplatz 4", 5_000_000, order.StatusAwaitingApproval}} {
		o := order.Order{
			OrderID: x.id, CustomerID: "c-erika", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
			ShipTo: &order.Address{Name: "Erika", Line1: x.street},
			Lines:  []order.Line{{SKU: "SKU-1", Quantity: 1, UnitPrice: x.price}},
		}
		_, _, err := b.Store.Accept(t.Context(), o)
		require.NoError(t, err)
		// As an older release did, with customer and address.
		input := workflows.State{Order: o.WithoutToken(), Terms: workflows.NewState(o, b.Worker.Terms).Terms}
		require.NoError(t, b.sagas.Start(t.Context(), workflows.OrderSaga, x.id, input))
		testkit.Eventually(t, x.id+" is "+string(x.step), func() error {
			rec, err := b.Store.Get(t.Context(), x.id)
			if err == nil && rec.Status != x.step {
				err = fmt.Errorf("it is %s", rec.Status)
			}
			return err
		})
	}
	_, err := b.sagas.Wait(t.Context(), "done")
	require.NoError(t, err)
	if before := b.state(); !strings.Contains(before, "Heidestrasse") || !strings.Contains(before, "Domplatz") {
		t.Fatal("the state store lacks an address as searchable text, want Heidestrasse and Domplatz")
	}
	forget := func() (out api.Forgotten) {
		res, err := http.Post(b.API+"/v1/customers/c-erika/forget", "application/json", strings.NewReader(`{"by":"ann"}`))
		require.NoError(t, err)
		defer res.Body.Close()
		require.NoError(t, json.NewDecoder(res.Body).Decode(&out))
		if res.StatusCode != http.StatusOK {
			t.Fatalf("forget: status = %s, want 200", res.Status)
		}
		return out
	}
	if out := forget(); out.Erased != 1 || len(out.Open) != 1 || out.Complete {
		t.Errorf("forget with an open order = %+v, want 1 erased, 1 open, not complete", out)
	}
	if after := b.state(); strings.Contains(after, "Heidestrasse") || !strings.Contains(after, "Domplatz") {
		t.Errorf("state store = %s, want the open order's address only", after)
	}
	res, err := http.Post(b.API+"/v1/sagas/open/approve", "application/json", strings.NewReader(`{}`))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	_, err = b.sagas.Wait(t.Context(), "open")
	require.NoError(t, err)
	if out := forget(); out.Erased != 1 || !out.Complete {
		t.Errorf("second forget = %+v, want 1 erased, complete", out)
	}
	if after := b.state(); strings.Contains(after, "Domplatz") || strings.Contains(after, "rika") {
		t.Errorf("state store = %s, want nothing of the customer", after)
	}
}
