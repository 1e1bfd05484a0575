package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestListOfACustomerErasesTheirData uses the button of the list of a customer's
// orders.
func TestListOfACustomerErasesTheirData(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	for _, id := range []string{"ended", "open"} {
		o := order.Order{OrderID: id, CustomerID: "c-7", Currency: "EUR", Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 100}}}
		if _, _, err := b.Store.Accept(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Store.Release(t.Context(), "ended", order.StatusCancelled, "why"); err != nil {
		t.Fatal(err)
	}
	status, page, _ := b.send("GET", "/console/sagas?customer=c-7", nil)
	b.sees(200, page, status, `action="/console/customers/c-7/forget"`, `data-confirm="Erase this customer's data?`)
	status, page, _ = b.send("POST", "/console/customers/c-7/forget", url.Values{"by": {"ann"}, "note": {"by letter"}})
	b.sees(200, page, status,
		"erased the customer&#39;s data: 1 orders, 0 dead letters; not complete, repeat it when these orders have ended: open")
	status, page, _ = b.send("GET", "/console/sagas/ended", nil)
	b.sees(200, page, status, "<dt>Customer<dd>erased", "by letter")
	status, page, _ = b.send("GET", "/console/sagas", nil)
	b.sees(200, page, status, "<td>erased")
	_, page, _ = b.send("GET", "/console/sagas?sku=A", nil)
	if strings.Contains(page, "/forget") {
		t.Error("a list that is not of one customer has a form that erases data, want none")
	}
	status, page, _ = b.send("POST", "/console/customers/%20/forget", url.Values{})
	b.sees(http.StatusOK, page, status, "path.id")
}

// TestCancelNamesWhoCancels checks the two buttons, which differ in the
// customer's notification.
func TestCancelNamesWhoCancels(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	o := order.Order{
		OrderID: "o", CustomerID: "c-7", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 5_000_000}},
	}
	if _, _, err := b.Parts.Store.Accept(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	status, page, _ := b.send("GET", "/console/sagas/o", nil)
	b.sees(200, page, status, "The customer is notified that the shop cancelled it.",
		"The customer is notified that they cancelled it.", "saga cancel --for customer")
	b.send("POST", "/console/sagas/o/cancel-asked", url.Values{"by": {"ann"}})
	testkit.Eventually(t, "it was cancelled for the customer", func() error {
		rec, err := b.Store.Get(t.Context(), "o")
		if err == nil && rec.CancelledFor() != orderstore.Customer {
			t.Errorf("order = %+v, want it cancelled for the customer", rec)
		}
		return err
	})
}
