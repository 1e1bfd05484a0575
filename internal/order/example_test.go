package order_test

import (
	"fmt"

	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
)

func ExampleParse() {
	o, err := order.Parse([]byte(`{
		"orderId": "o-1042", "customerId": "c-7", "currency": "EUR",
		"lines": [{"sku": "SKU-1", "quantity": 2, "unitPrice": 1999}],
		"shipping": 490, "payment": {"token": "tok_ok"}
	}`))
	fmt.Println(o.OrderID, money.Format(o.Total(), o.Currency), err)
	// Output: o-1042 44.88 EUR <nil>
}

// Parse rejects what it does not recognize, because it could change what is
// shipped or charged.
func ExampleParse_unknownField() {
	_, err := order.Parse([]byte(`{
		"orderId": "o-1042", "customerID": "c-7", "currency": "EUR",
		"lines": [{"sku": "SKU-1", "quantity": 2, "unitPrice": 1999}], "payment": {"token": "tok_ok"}
	}`))
	fmt.Println(err != nil)
	// Output: true
}

func ExampleStatus_Terminal() {
	for _, s := range []order.Status{order.StatusPaid, order.StatusDeclined} {
		fmt.Println(s, s.Terminal())
	}
	// Output:
	// PAID false
	// DECLINED true
}
