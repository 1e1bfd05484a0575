package importer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var options = Options{PaymentToken: "tok_ok"}

// TestConvertKeepsTheShopsTotal: each shop's order is converted with the shop's total, and there is a note about
// each field that is left out.
func TestConvertKeepsTheShopsTotal(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		from, order, notes string
	}{
		"shopify": {
			Shopify, `{"specVersion":1,"orderId":"5390211007","customerId":"7001","currency":"EUR","lines":[{"sku":"SHOPIFY-MUG",` +
				`"quantity":2,"unitPrice":1999},{"sku":"SHOPIFY-TEA","quantity":1,"unitPrice":1450}],` +
				`"shipping":490,"discount":500,"total":5438,"payment":{"token":"tok_ok"},"shipTo":{"name":"Ada Example","line1":"1 Loopback Lane",` +
				`"line2":"Example Ltd, Flat 3","city":"Berlin","region":"Berlin","postalCode":"10115","country":"DE","phone":"+49 30 5550100"},` +
				`"placedAt":"2026-11-23T10:00:00+01:00"}`,
			"line_items[1].properties[0].name note shipping_lines[0].code shipping_lines[0].title tags",
		},
		"shopify-foreign": {Shopify, `{"specVersion":1,"orderId":"5390211008","customerId":"7002","currency":"JPY",` +
			`"lines":[{"sku":"SHOPIFY-MUG","quantity":2,"unitPrice":2000}],` +
			`"shipping":600,"tax":460,"total":5060,"payment":{"token":"tok_ok"},"shipTo":{"name":"Yuki Rei","line1":"1-2-3 Example",` +
			`"city":"Chiyoda-ku","region":"Tokyo","postalCode":"100-0001","country":"JP"},"placedAt":"2026-11-23T11:00:00Z"}`, ""},
		"woocommerce": {
			WooCommerce, `{"specVersion":1,"orderId":"727","customerId":"26","currency":"EUR","lines":[{"sku":"WOO-TEA",` +
				`"quantity":3,"unitPrice":1400},{"sku":"WOO-MUG","quantity":1,"unitPrice":1796}],` +
				`"shipping":420,"tax":80,"discount":595,"total":5901,"payment":{"token":"tok_ok"},"shipTo":{"name":"Ada Example","line1":"1 ` +
				`Loopback Lane","line2":"Flat 3","city":"Berlin","region":"DE-BE","postalCode":"10115","country":"DE","phone":"+49 30 5550100"},` +
				`"placedAt":"2026-11-23T10:00:00Z"}`,
			"customer_note line_items[1].meta_data[0].key meta_data[0].key shipping_lines[0].method_title",
		},
		"commercetools": {
			Commercetools,
			`{"specVersion":1,"orderId":"c4f0b1de-5a3e-4f0b-9d1c-2f9a7c1e0a42","customerId":"0d9e1c1a-7c55-4f0e-8f5e-6a1b2c3d4e5f",` +
				`"currency":"USD","lines":[{"sku":"CT-MUG","quantity":2,"unitPrice":2000},{"sku":"CT-SCREWS","quantity":9,"unitPrice":34},` +
				`{"sku":"CT-SCREWS","quantity":51,"unitPrice":33}],` +
				`"shipping":700,"tax":543,"discount":544,"total":6688,"payment":{"token":"tok_ok"},"shipTo":{"name":"Ada Example","line1":"Loopback ` +
				`Lane 1","line2":"Flat 3","city":"New York","region":"New York","postalCode":"10001","country":"US","phone":"+1 212 555 0100"},` +
				`"placedAt":"2026-11-23T10:00:00Z"}`,
			"shippingInfo.shippingMethodName",
		},
		"cloudevents": {CloudEvents, `{"specVersion":1,"orderId":"o-1042","customerId":"c-7","currency":"KWD","lines":[{"sku":"CLOUD-LAMP",` +
			`"quantity":2,"unitPrice":12345}],` +
			`"shipping":1500,"discount":190,"total":26000,"payment":{"token":"tok_ok"},"shipTo":{"name":"Ada Example","line1":"1 Loopback Lane",` +
			`"line2":"Flat 3","city":"Kuwait City","country":"KW","phone":"+965 5550100"},"placedAt":"2026-11-23T10:00:00Z"}`, ""},
	} {
		o, notes, err := Convert(want.from, fixture(t, name), options)
		if err != nil {
			t.Errorf("Convert %s: %v", name, err)
			continue
		}
		b, err := Encode(o)
		if err != nil || string(b) != want.order {
			t.Errorf("Convert %s = %s, error %v, want %s", name, b, err, want.order)
		}
		if again, err := order.Parse(b); err != nil || again.Fingerprint() != o.Fingerprint() {
			t.Errorf("%s: order.Parse of the result = %+v, %v, want the same order", name, again, err)
		}
		var noted []string
		for _, n := range notes {
			noted = append(noted, n.Field)
		}
		if strings.Join(noted, " ") != want.notes {
			t.Errorf("%s: notes = %v, want notes about %s", name, notes, want.notes)
		}
	}
}

// TestIDsInOtherSpellings: 7, 7.0 and "7" are the same id. Otherwise one order would be shipped and
// charged as several.
func TestIDsInOtherSpellings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, id, order, customerID, customer string }{
		{Shopify, `"id": %s,`, "5390211007", `"customer": {"id": %s,`, "7001"},
		{WooCommerce, `"id": %s,`, "727", `"customer_id": %s,`, "26"},
	} {
		for _, as := range []string{"%s", "%s.0", "%s00e-2", "%s.000E0", `"%s"`, `"%s.0"`} {
			raw := string(fixture(t, c.from))
			for field, id := range map[string]string{c.id: c.order, c.customerID: c.customer} {
				was := fmt.Sprintf(field, id)
				if !strings.Contains(raw, was) {
					t.Fatalf("the fixture of %s does not contain %s, which this test must replace", c.from, was)
				}
				raw = strings.Replace(raw, was, fmt.Sprintf(field, fmt.Sprintf(as, id)), 1)
			}
			if o, _, err := Convert(c.from, []byte(raw), options); err != nil || o.OrderID != c.order || o.CustomerID != c.customer {
				t.Errorf("%s with ids like %s: order %q of customer %q, error %v, want the same ids", c.from, as, o.OrderID, o.CustomerID, err)
			}
		}
	}
}

// TestConvertRefusesOrdersThatWouldDiffer: an order that would be shipped or charged differently
// than it was ordered is refused, with a note about the field.
func TestConvertRefusesOrdersThatWouldDiffer(t *testing.T) {
	t.Parallel()
	type change struct{ old, with, field, message string }
	for from, changes := range map[string][]change{
		Shopify: {
			{`"current_total_price": "54.38"`, `"current_total_price": "34.38"`, "current_total_price", "changed or partly paid"},
			{`"amount": "4.90"`, `"amount": "4.91"`, "total_price", "is 54.38 EUR, and lines, shipping and tax, less the discount, are 54.39 EUR"},
			{`"id": 5390211007`, `"name2": "#1042"`, "id", "is missing"},
			{`"id": 5390211007`, `"id": "#1042"`, "id", `is "#1042"`},
			{`"id": 5390211007`, `"id": -1`, "id", "above 0"},
			{`"id": 5390211007`, `"id": 0`, "id", "above 0"},
			{`"id": 5390211007`, `"id": 1.5`, "id", `is "1.5"`},
			{`"id": 5390211007`, `"id": "007"`, "id", `is "007"`},
			{`"id": 5390211007`, `"id": 1e30`, "id", `is "1e30"`},
			{`"customer": {"id": 7001,`, `"customer": {"id": -7,`, "customer.id", "above 0"},
			{`"financial_status": "pending"`, `"financial_status": "paid"`, "financial_status", "charged again"},
			{`"financial_status": "pending"`, `"financial_status": "partially_refunded"`, "financial_status", "charged again"},
			{`"fulfillment_status": null,`, `"fulfillment_status": "partial",`, "fulfillment_status", "shipped again"},
			{`"cancelled_at": null`, `"cancelled_at": "2026-11-23T10:00:00Z"`, "cancelled_at", "cancelled"},
			{`"refunds": []`, `"refunds": [{"id":1}]`, "refunds", "refunded"},
			{`"refunds": [],`, `"refunds": [], "closed_at": "2026-11-24T10:00:00Z",`, "closed_at", "archived"},
			{
				`"refunds": [],`, `"refunds": [], "fulfillments": [{"status": "success", "line_items": [{"id": 11}]}],`, "fulfillments[0].status",
				"shipped again",
			},
			{
				`"refunds": [],`, `"refunds": [], "fulfillments": [{"status": "cancelled"}, {"status": null}],`, "fulfillments[1].status",
				"shipped again",
			},
			{`"current_quantity": 2`, `"fulfillable_quantity": 0`, "line_items[0].fulfillable_quantity", "is 0 of 2"},
			{`"shipping_lines": [{`, `"shipping_lines": [{"delivery_category": "pickup", `, "shipping_lines[0].delivery_category", "collects it"},
			{
				`"shipping_lines": [{`, `"shipping_lines": [{"requested_fulfillment_service_id": 7, `,
				"shipping_lines[0].requested_fulfillment_service_id", "another service",
			},
			{`"shipping_lines": [{`, `"shipping_lines": [{"is_removed": true, `, "shipping_lines[0].is_removed", "changed later"},
			{`"name": "_bundle", "value": "a1"`, `"name": "number", "value": "0"`, "line_items[1].properties", "made to order"},
			{`"name": "_bundle"`, `"name": ""`, "line_items[1].properties", "made to order"},
			{`"test": false`, `"test": true`, "test", "a test"},
			{`"total_tip_received": "0.00"`, `"total_tip_received": "1.00"`, "total_tip_received", "a tip"},
			{`"total_outstanding": "54.38"`, `"total_outstanding": "4.38"`, "total_outstanding", "is 4.38, and total_price is 54.38"},
			{`"quantity": 1,`, `"quantity": 1.5,`, "line_items[1].quantity", "a whole number"},
			{`"quantity": 1,`, `"quantity": "1",`, "line_items[1].quantity", "a whole number"},
			{`"current_quantity": 2`, `"current_quantity": 1`, "line_items[0].current_quantity", "is 1 of 2"},
			{`"gift_card": false, "fulfillment_service"`, `"gift_card": true, "fulfillment_service"`, "line_items[0].gift_card", "gift card"},
			{`"requires_shipping": true, "gift_card": false,
     "properties"`, `"requires_shipping": false, "gift_card": false,
     "properties"`, "line_items[1].requires_shipping", "must not be shipped"},
			{`"name": "_bundle"`, `"name": "engraving"`, "line_items[1].properties", "made to order"},
			{`"fulfillment_service": "manual"`, `"fulfillment_service": "elsewhere"`, "line_items[0].fulfillment_service", "another service"},
			{`"sku": "SHOPIFY-TEA"`, `"sku": "TEA 1/2"`, "line_items[1].sku", `is "TEA 1/2"`},
			{`"sku": "SHOPIFY-TEA"`, `"sku": null`, "line_items[1].sku", "is missing"},
			{`"total_price": "54.38"`, `"total_price": "54.39"`, "total_price", "is 54.39, and its total_price_set is 54.38"},
			{`"price": "14.50"`, `"price": "14.505"`, "line_items[1].price", "more decimals"},
			{`"price": "14.50"`, `"price": "-14.50"`, "line_items[1].price", "0 or more"},
			{`"price": "14.50"`, `"price": "14.50", "price": "1.00"`, "line_items[1].price", "more than once"},
			{
				`"taxes_included": true`, `"taxes_included": false`, "total_price",
				"is 54.38 EUR, and lines, shipping and tax, less the discount, are 63.06 EUR",
			},
			{`"taxes_included": true`, `"taxes_included": "yes"`, "taxes_included", "true or false"},
			{`"shipping_address": {`, `"elsewhere": {`, "shipTo", "no shipping address"},
			{`"country_code": "DE", "phone"`, `"country_code": "Germany", "phone"`, "our shipTo.country", "capital"},
			{`"country_code": "DE", "phone"`, `"phone"`, "shipping_address.country_code", `the country is "Germany"`},
			{`"customer": {"id": 7001,`, `"customer": {`, "customer", "--customer-id"},
			{
				`"presentment_currency": "EUR"`, `"presentment_currency": "USD"`, "line_items[0].price_set.presentment_money.currency_code",
				`is "EUR"`,
			},
		},
		WooCommerce: {
			{`"status": "processing"`, `"status": "completed"`, "status", `is "completed"`},
			{`"date_paid": null`, `"date_paid": "2026-11-23T10:00:00"`, "date_paid", "charged again"},
			{`"refunds": []`, `"refunds": [{"id":1}]`, "refunds", "refunded"},
			{`"fee_lines": []`, `"fee_lines": [{"id":1,"name":"gift wrap","total":"1.00"}]`, "fee_lines[0].total", "a fee"},
			{`"total": "59.01"`, `"total": "59.02"`, "total", "is 59.02 EUR, and lines, shipping and tax, less the discount, are 59.01 EUR"},
			{`"customer_id": 26`, `"customer_id": 0`, "customer", "--customer-id"},
			{`"customer_id": 26`, `"customer_id": 0e3`, "customer", "--customer-id"},
			{`"customer_id": 26`, `"customer_id": -1`, "customer_id", "above 0"},
			{`"customer_id": 26`, `"customer_id": "26b"`, "customer_id", `is "26b"`},
			{`"id": 727`, `"id": -1`, "id", "above 0"},
			{`"id": 727`, `"id": "wc-727"`, "id", `is "wc-727"`},
			{`"variation_id": 23`, `"variation_id": -1`, "line_items[1].variation_id", "above 0"},
			{`"method_id": "flat_rate"`, `"method_id": "local_pickup"`, "shipping_lines[0].method_id", "collects it"},
			{
				`"variation_id": 0, "quantity": 3, "tax_class": "", "subtotal": "35.29", "subtotal_tax": "6.71", "total": "30.29", "total_tax": ` +
					`"5.76", "taxes": [], "meta_data": []`,
				`"variation_id": 0, "quantity": 3, "subtotal": "35.29", "total": "30.29", "meta_data": [{"key":"engraving","value":"Ada"}]`,
				"line_items[0].meta_data", "made to order",
			},
			{
				`"total_tax": "5.76", "taxes": [], "meta_data": []`, `"total_tax": "5.76", "meta_data": [{"key":"pa_engraving","value":"Bob"}]`,
				"line_items[0].meta_data", `by "pa_engraving"`,
			},
			{
				`"total_tax": "5.76", "taxes": [], "meta_data": []`, `"total_tax": "5.76", "meta_data": [{"key":"_wcpa_engraving","value":"Bob"}]`,
				"line_items[0].meta_data", `by "_wcpa_engraving"`,
			},
			{
				`"total_tax": "5.76", "taxes": [], "meta_data": []`, `"total_tax": "5.76", "meta_data": [{"key":"number","value":"0"}]`,
				"line_items[0].meta_data", `by "number"`,
			},
			{`"key": "pa_color"`, `"key": "_wcpa_engraving"`, "line_items[1].meta_data", `by "_wcpa_engraving"`},
			{
				`"taxes": [], "meta_data": []}]`, `"meta_data": [{"key":"Pickup point","value":"LOCKER-77 Main St"}]}]`, "shipping_lines[0].meta_data",
				`"Pickup point" may change`,
			},
			{
				`"method_id": "flat_rate", "total": "4.20", "total_tax": "0.80", "taxes": [], "meta_data": []`,
				`"method_id": "inpost", "meta_data": [{"key":"_locker","value":"77"}]`, "shipping_lines[0].meta_data", `"_locker" may change`,
			},
			{`"method_id": "flat_rate"`, `"method_id": "legacy_local_pickup:3"`, "shipping_lines[0].method_id", "collects it"},
			{`"total": "30.29"`, `"total": "36.29"`, "line_items[0].total", "more than its subtotal"},
			{`"address_1": "1 Loopback Lane", "address_2": "Flat 3"`, `"address_1": "", "address_2": ""`, "shipTo", "no shipping address"},
			{`"date_created_gmt": "2026-11-23T10:00:00"`, `"date_created_gmt": "today"`, "date_created_gmt", "must be a time"},
		},
		Commercetools: {
			{`"orderState": "Open"`, `"orderState": "Cancelled"`, "orderState", `is "Cancelled"`},
			{`"paymentState": "BalanceDue"`, `"paymentState": "Paid"`, "paymentState", "charged again"},
			{`"customLineItems": []`, `"customLineItems": [{"id":"1","slug":"wrap"}]`, "customLineItems[0]", "not a stock item"},
			{`"shipping": []`, `"shipping": [{"shippingKey":"a"}]`, "shipping", "one address"},
			{`"deliveries": []`, `"deliveries": [{"id":"1"}]`, "shippingInfo.deliveries", "shipped"},
			{`"returnInfo": []`, `"returnInfo": [{"items":[]}]`, "returnInfo", "returned"},
			{`"centAmount": 6688`, `"centAmount": 6100`, "taxedPrice.totalGross", "less than totalPrice"},
			{
				`"centAmount": 144`, `"centAmount": 145`, "taxedPrice.totalGross",
				"is 66.88 USD, and lines, shipping and tax, less the discount, are 66.87 USD",
			},
			{`"taxedPrice": {
    "totalNet"`, `"other": {
    "totalNet"`, "taxedPrice", "is missing"},
			{
				`"currencyCode": "USD", "centAmount": 3600`, `"currencyCode": "EUR", "centAmount": 3600`, "lineItems[0].totalPrice.currencyCode",
				`is "EUR"`,
			},
			{
				`"centAmount": 3600, "fractionDigits": 2`, `"centAmount": 3600, "fractionDigits": 3`, "lineItems[0].totalPrice.fractionDigits",
				"is 3, but USD has 2",
			},
			{`"sku": "CT-MUG", `, ``, "lineItems[0].variant.sku", "is missing"},
			{`"type": "Order"`, `"type": "OrderDeleted"`, "type", "only type Order"},
			{`"origin": "Customer"`, `"custom": {"fields":{"engraving":"Ada"}}`, "custom", "unknown"},
			{`"origin": "Customer"`, `"completedAt": "2026-11-24T10:00:00.000Z"`, "completedAt", "shipped again"},
			{`"deliveries": []`, `"custom": {"fields":{"locker":"77"}}`, "shippingInfo.custom", "destination"},
			{`"firstName": "Ada"`, `"custom": {"fields":{"locker":"77"}}`, "shippingAddress.custom", "destination"},
			{
				`"quantity": 60,`, `"quantity": 60, "recurrenceInfo": {"recurringOrder": {"id": "r1"}},`, "lineItems[1].recurrenceInfo",
				"recurring order",
			},
		},
		CloudEvents: {
			{`"type": "OrderPlaced"`, `"type": "OrderCancelled"`, "type", "only OrderPlaced"},
			{`"specversion": "1.0",`, ``, "body", "is not a CloudEvent"},
			{`"total": 26000`, `"total": 26001`, "data.total", "is 26001 (26.001 KWD)"},
			{`"shipping": 1500`, `"postage": 1500`, "data.postage", ""},
			{`"data": {`, `"data": {"orderId":"x",`, "data.orderId", "more than once"},
		},
	} {
		for _, c := range changes {
			was := fixture(t, from)
			is := bytes.Replace(was, []byte(c.old), []byte(c.with), 1)
			if bytes.Equal(was, is) {
				t.Errorf("the fixture of %s does not contain %s, which this test must replace", from, c.old)
				continue
			}
			o, _, err := Convert(from, is, options)
			refused, ok := errors.AsType[*RefusedError](err)
			if !ok || o.OrderID != "" {
				t.Errorf("Convert %s with %s = %+v, %v, want a RefusedError", from, c.with, o, err)
				continue
			}
			found := false
			for _, n := range refused.Notes {
				found = found || n.Field == c.field && strings.Contains(n.Message, c.message)
			}
			if !found {
				t.Errorf("Convert %s with %s: error = %v, want a note about %s with %q", from, c.with, err, c.field, c.message)
			}
		}
		for _, body := range []string{"", "[]", "null", "{", `"x"`, "\xff", "{}", `{"id":1}{}`} {
			if o, _, err := Convert(from, []byte(body), options); err == nil || o.OrderID != "" {
				t.Errorf("Convert %s of %q = %+v, %v, want an error", from, body, o, err)
			}
		}
	}
}

// TestNothingToPay: shops mark an order of 0 as paid. It is accepted, for nothing is charged again.
func TestNothingToPay(t *testing.T) {
	t.Parallel()
	for from, body := range map[string]string{
		Shopify: `{"id":1,"currency":"EUR","financial_status":"paid","customer":{"id":7},
			"line_items":[{"sku":"TEA","quantity":2,"price":"24.99"}],
			"total_discounts":"49.98","total_price":"0.00","total_outstanding":"0.00","shipping_address":{"name":"Ada Example"}}`,
		WooCommerce: `{"id":1,"currency":"EUR","status":"processing","date_paid":"2026-11-23T11:00:00","date_paid_gmt":"2026-11-23T10:00:00",
			"customer_id":7,
			"line_items":[{"sku":"TEA","quantity":2,"subtotal":"49.98","total":"0.00"}],"total":"0.00",
			"shipping":{"first_name":"Ada","last_name":"Example","address_1":"1 Loopback Lane"}}`,
		Commercetools: `{"id":"1","orderState":"Open","paymentState":"Paid","customerId":"7","totalPrice":{"currencyCode":"EUR","centAmount":0},
			"taxedPrice":{"totalGross":{"currencyCode":"EUR","centAmount":0}},
			"lineItems":[{"variant":{"sku":"TEA"},"quantity":2,"price":{"value":{"currencyCode":"EUR","centAmount":2499}},
				"totalPrice":{"currencyCode":"EUR","centAmount":0}}],
			"shippingAddress":{"firstName":"Ada"}}`,
	} {
		o, _, err := Convert(from, []byte(strings.Replace(body, `"quantity":2,`, `"quantity":2.0,`, 1)), options) // a whole number
		if err != nil || o.Total() != 0 || o.Discount != 4998 || len(o.Lines) != 1 {
			t.Errorf("Convert %s = %+v, %v, want one line, a discount of its price, 49.98, and a total of 0", from, o, err)
		}
	}
}

// TestNotesAboutIgnoredFields: there is a note about each field that has no counterpart and does not
// change what is shipped or charged, wherever it is.
func TestNotesAboutIgnoredFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, old, with, field string }{ // field is "" if there is no note
		{Shopify, `"customer": {"id": 7001,`, `"customer": {"id": 7001, "note": "leave it at the door",`, "customer.note"},
		{Shopify, `"_bundle", "value": "a1"`, `"_engraving", "value": "0"`, "line_items[1].properties[0].name"},
		{Shopify, `"refunds": [],`, `"refunds": [], "fulfillments": [{"id": 1, "status": "cancelled"}],`, "fulfillments[0].status"},
		{Shopify, `"shipping_lines": [{`, `"shipping_lines": [{"phone": "+49 30 1", `, "shipping_lines[0].phone"},
		{Shopify, `"shipping_lines": [{`, `"shipping_lines": [{"carrier_identifier": "abc", `, "shipping_lines[0].carrier_identifier"},
		{WooCommerce, `"method_id": "flat_rate"`, `"method_id": "inpost"`, "shipping_lines[0].method_id"},
		{WooCommerce, `"parent_id": 0`, `"parent_id": 726`, "parent_id"},
		{WooCommerce, `"billing": {`, `"billing": {"door_code": "12A", `, "billing.door_code"},
		{WooCommerce, `"fee_lines": []`, `"fee_lines": [{"id": 1, "name": "gift wrap", "total": "0.00"}]`, "fee_lines[0].name"},
		{WooCommerce, `"key": "pa_color"`, `"key": "pa_engraving"`, "line_items[1].meta_data[0].key"},
		{WooCommerce, `"key": "_source"`, `"key": "_inpost_locker"`, "meta_data[0].key"},
		{WooCommerce, `"key": "_source"`, `"key": "_edit_lock"`, ""},
		{WooCommerce, `"key": "_source"`, `"key": "_wc_order_attribution_utm_source"`, ""},
		{WooCommerce, `"taxes": [], "meta_data": []}]`, `"meta_data": [{"key": "Items", "value": "Tea, green &times; 3"}]}]`, ""},
		{
			WooCommerce, `"taxes": [], "meta_data": []}]`, `"meta_data": [{"key": "Positionen", "value": "Tea &times; 3, Mug - Blue &times; 1"}]}]`,
			"",
		},
		{
			WooCommerce, `"total_tax": "5.76", "taxes": [], "meta_data": []`,
			`"total_tax": "5.76", "meta_data": [{"key": "_reduced_stock", "value": "3"}]`, "",
		},
		{Commercetools, `"firstName": "Ada"`, `"title": "Dr.", "firstName": "Ada"`, "shippingAddress.title"},
		{
			Commercetools, `"state": "New York", "country": "US", "phone"`, `"state": "New York", "region": "NY", "country": "US", "phone"`,
			"shippingAddress.state",
		},
		{Commercetools, `"phone": "+1 212 555 0100"`, `"mobile": "+1 212 555 0101", "phone": "+1 212 555 0100"`, "shippingAddress.phone"},
		{Commercetools, `"syncInfo": []`, `"syncInfo": [{"externalId": "erp-7"}]`, "syncInfo"},
		{Commercetools, `"syncInfo": []`, `"state": {"typeId": "state", "id": "packed"}`, "state"},
		{Commercetools, `"syncInfo": []`, `"purchaseOrderNumber": "4711"`, "purchaseOrderNumber"},
		{Commercetools, `"quantity": 60,`, `"quantity": 60, "supplyChannel": {"typeId": "channel", "id": "c1"},`, "lineItems[1].supplyChannel"},
		{CloudEvents, `"specVersion": 1,`, `"specVersion": 1, "metadata": {"gift": "yes"},`, "data.metadata"},
	} {
		was := fixture(t, c.from)
		is := bytes.Replace(was, []byte(c.old), []byte(c.with), 1)
		if bytes.Equal(was, is) {
			t.Errorf("the fixture of %s does not contain %s, which this test must replace", c.from, c.old)
			continue
		}
		_, before, err1 := Convert(c.from, was, options)
		_, notes, err2 := Convert(c.from, is, options)
		noted := false
		for _, n := range notes {
			noted = noted || n.Field == c.field
		}
		if err := errors.Join(err1, err2); err != nil || noted != (c.field != "") || c.field == "" && len(notes) > len(before) {
			t.Errorf("%s with %s: notes = %v, error %v, want a note about %q", c.from, c.with, notes, err, c.field)
		}
	}
}

// TestNotesAboutMetaData: there are notes about the data of plugins in a WooCommerce order, and about
// text of the customer for a variation, which looks like one of its attributes.
func TestNotesAboutMetaData(t *testing.T) {
	t.Parallel()
	body := bytes.Replace(
		fixture(t, "woocommerce"),
		[]byte(`"meta_data": [{"id": 2095,`),
		[]byte(`"meta_data": [{"id": 2094, "key": "Engraving", "value": "Ada"}, {"id": 2095,`),
		1,
	)
	body = bytes.Replace(
		body,
		[]byte(`"key": "_source", "value": "web"}`),
		[]byte(`"key": "_source", "value": "web"}, {"id": 2, "key": "locker", "value": "107"}`),
		1,
	)
	_, notes, err := Convert(WooCommerce, body, options)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		` meta_data[1].key: "locker" has no counterpart`, ` meta_data[0].key: "_source" has no counterpart`,
		`line_items[1].meta_data[0].key: "Engraving" has no counterpart`, `line_items[1].meta_data[1].key: "pa_color" has no counterpart`,
	} {
		if got := fmt.Sprint(notes); !strings.Contains(got, want) {
			t.Errorf("notes = %s, want one with %s", got, want)
		}
	}
}

// TestTaxOfLines: if WooCommerce's prices include the tax, it is rounded for each line. Three
// different items of 9.99 are 25.17 without their tax of 4.79, which is not 29.97. If the prices
// exclude the tax, the lines are exact.
func TestTaxOfLines(t *testing.T) {
	t.Parallel()
	const body = `{"id":1,"currency":"EUR","status":"on-hold","prices_include_tax":INCLUDED,"customer_id":7,"total_tax":"5.59",
		"shipping_total":"4.20","shipping_tax":"0.80","total":"34.97",
		"line_items":[LINES],"shipping":{"first_name":"Ada","last_name":"Example","address_1":"1 Loopback Lane"}}`
	line := func(sku string) string {
		return `{"sku":"` + sku + `","quantity":1,"subtotal":"8.39","subtotal_tax":"1.60","total":"8.39","total_tax":"1.60"}`
	}
	in := strings.NewReplacer("INCLUDED", "true", "LINES", line("A")+","+line("B")+","+line("C")).Replace(body)
	o, _, err := Convert(WooCommerce, []byte(in), options)
	if err != nil || o.Lines[0].UnitPrice != 999 || o.Shipping != 420 || o.Tax != 80 || o.Total() != 3497 {
		t.Errorf("Convert = %+v, %v, want 9.99 a unit, 4.20 for shipping, 0.80 tax, and a total of 34.97", o, err)
	}
	in = strings.NewReplacer("INCLUDED", "false", "LINES",
		`{"sku":"A","quantity":3,"subtotal":"25.18","subtotal_tax":"4.78","total":"25.18","total_tax":"4.78"}`).
		Replace(body)
	o, _, err = Convert(WooCommerce, []byte(in), options)
	if err != nil || o.Tax != 559 || o.Total() != 3497 {
		t.Errorf("Convert = %+v, %v, want 5.59 tax and a total of 34.97", o, err)
	}
}

// TestOptionsSupplyWhatTheOrderLacks: the payment token, a guest's id, other SKUs, and the fields
// to leave out.
func TestOptionsSupplyWhatTheOrderLacks(t *testing.T) {
	t.Parallel()
	_, _, err := Convert(Shopify, fixture(t, Shopify), Options{})
	if err == nil || err.Error() != "payment: the shop's order has no payment token; set it with --payment-token" {
		t.Errorf("Convert without a token: error = %v, want one about the token", err)
	}
	raw := bytes.Replace(fixture(t, Shopify), []byte(`"customer": {"id": 7001,`), []byte(`"customer": {`), 1)
	raw = bytes.Replace(raw, []byte(`"SHOPIFY-TEA"`), []byte(`"tea, loose"`), 1)
	raw = bytes.Replace(raw, []byte(`"_bundle"`), []byte(`"wrapping"`), 1)
	raw = bytes.Replace(raw, []byte(`"province": "Berlin",`), nil, 1)
	o, notes, err := Convert(Shopify, raw, Options{
		PaymentToken: "tok_ok", CustomerID: "guest-1", SKUs: map[string]string{"tea, loose": "TEA-LOOSE"},
		LeaveOut: []string{"line_items[].properties"},
	})
	if err != nil || o.CustomerID != "guest-1" || o.ShipTo.Region != "BE" || o.Lines[1].SKU != "TEA-LOOSE" {
		t.Errorf("Convert = %+v, %v, want what the options have: customer guest-1, region BE, second SKU TEA-LOOSE", o, err)
	}
	if got, want := fmt.Sprint(notes), "line_items[1].properties: has no counterpart and is left out as requested"; !strings.Contains(
		got,
		want,
	) {
		t.Errorf("notes = %s, want one with %s", got, want)
	}
	if _, _, err := Convert("magento", nil, options); err == nil || !strings.Contains(err.Error(), "must be shopify") {
		t.Errorf("Convert from an unknown shop: error = %v, want one that lists the formats", err)
	}
}

// FuzzConvert: Convert returns an error or a valid order.
func FuzzConvert(f *testing.F) {
	shops := []string{Shopify, WooCommerce, Commercetools, CloudEvents}
	for i, from := range shops {
		f.Add(i, fixture(f, from))
	}
	f.Fuzz(func(t *testing.T, i int, raw []byte) {
		o, _, err := Convert(shops[uint(i)%4], raw, options)
		if err != nil {
			return
		}
		b, err := Encode(o)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := order.Parse(b); err != nil || *again.Agreed != o.Total() {
			t.Errorf("order.Parse(%s) = %+v, %v, want the same total", b, again, err)
		}
	})
}
