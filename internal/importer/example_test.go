package importer_test

import (
	"fmt"

	"github.com/ordersaga/ordersaga/internal/importer"
	"github.com/ordersaga/ordersaga/internal/money"
)

func ExampleConvert() {
	shopify := []byte(`{
		"id": 450789469, "customer": {"id": 207119551}, "currency": "EUR", "financial_status": "authorized",
		"line_items": [{"sku": "SKU-1", "quantity": 2, "price": "19.99"}],
		"shipping_address": {"name": "Ada Example", "address1": "1 Loopback Lane", "city": "Berlin", "zip": "10115", "country_code": "DE"},
		"total_discounts": "0.00", "total_tax": "0.00", "total_price": "39.98"
	}`)
	o, notes, err := importer.Convert("shopify", shopify, importer.Options{PaymentToken: "tok_ok"})
	fmt.Println(o.OrderID, o.CustomerID, money.Format(o.Total(), o.Currency), notes, err)
	// Output: 450789469 207119551 39.98 EUR [] <nil>
}
