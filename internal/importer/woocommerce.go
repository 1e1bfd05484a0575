package importer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
)

// fromWooCommerce converts an order of WooCommerce's REST API, version 3, which its webhooks send
// too: https://woocommerce.github.io/woocommerce-rest-api-docs/#orders.
// Amounts of lines are without tax, even if the shop's prices include it. In that case the tax is
// added to each line again: it is rounded for each line, and otherwise the sum would differ from
// the total by a cent or two.
func fromWooCommerce(c *conversion, f *fields) {
	c.out.Currency = f.text("currency")
	c.out.OrderID = c.id("id", f.id("id"))
	c.out.CustomerID = cmp.Or(f.idOrZero("customer_id"), c.out.CustomerID) // 0 is a guest
	c.out.PlacedAt = wooTime(f, "date_created_gmt")
	wooState(f)

	included := f.flag("prices_include_tax")
	lines := f.list("line_items")
	for _, l := range lines {
		c.out.Discount += wooItem(c, l, included)
	}
	c.out.Shipping, c.out.Tax = wooAmount(f, "shipping_total"), wooAmount(f, "total_tax")
	if included { // the lines contain the rest
		c.out.Tax = wooAmount(f, "shipping_tax")
	}
	c.totalAt = "total"
	if f.number("total") == "" {
		c.wrong("total", "is missing")
	} else {
		c.total = wooAmount(f, "total")
	}
	for _, l := range f.list("fee_lines") {
		l.noPlace("a fee or a deduction would not be charged", "total", "total_tax")
		l.skip("id", "tax_class", "tax_status", "amount", "taxes") // a fee of 0 may only be a remark
	}

	billing, to := f.object("billing"), f.object("shipping")
	if to.has("address_1") { // otherwise nothing is shipped, or the customer collects it
		c.out.ShipTo = &order.Address{
			Name: join(" ", to.text("first_name"), to.text("last_name")), Line1: to.text("address_1"),
			Line2: join(", ", to.text("company"), to.text("address_2")), City: to.text("city"), Region: to.text("state"),
			PostalCode: to.text("postcode"), Country: to.text("country"), Phone: cmp.Or(to.text("phone"), billing.text("phone")),
		}
	}
	billing.skip("first_name", "last_name", "company", "address_1", "address_2", "city", "state", "postcode", "country", "email", "phone")
	for _, l := range f.list("shipping_lines") {
		wooShipping(c, l, lines)
	}
	for _, m := range wooMeta(f) { // added by plugins: a delivery day, a locker, a greeting
		if key := m.text("key"); !strings.HasPrefix(key, "_wc_order_attribution_") && !slices.Contains(wooOrderKeys, key) {
			c.note(m.at+"key", "%.100q has no counterpart and is left out", key)
		}
	}
	f.skip(
		"number",
		"order_key",
		"created_via",
		"version",
		"currency_symbol",
		"date_created",
		"date_modified",
		"date_modified_gmt",
		"discount_total",
		"discount_tax",
		"shipping_tax",
		"cart_tax",
		"customer_ip_address",
		"customer_user_agent",
		"payment_method",
		"payment_method_title",
		"transaction_id",
		"date_completed",
		"date_completed_gmt",
		"cart_hash",
		"tax_lines",
		"coupon_lines",
		"payment_url",
		"is_editable",
		"needs_payment",
		"needs_processing",
		"set_paid",
		"_links",
		"date_paid",
	)
}

// Keys of WooCommerce itself in meta_data: copies of fields, and what it has done. Plugins use
// keys that start with _ as well.
var (
	wooLineKeys = []string{
		"_qty",
		"_tax_class",
		"_product_id",
		"_variation_id",
		"_line_subtotal",
		"_line_subtotal_tax",
		"_line_total",
		"_line_tax",
		"_line_tax_data",
		"_reduced_stock",
		"_restock_refunded_items",
		"_cogs_value",
	}

	wooOrderKeys = []string{
		"is_vat_exempt",
		"_edit_lock",
		"_edit_last",
		"_new_order_email_sent",
		"_order_stock_reduced",
		"_download_permissions_granted",
		"_recorded_sales",
		"_recorded_coupon_usage_counts",
		"_billing_address_index",
		"_shipping_address_index",
		"_shipping_hash",
		"_coupons_hash",
		"_fees_hash",
		"_taxes_hash",
		"_cart_hash",
	}
)

// wooMeta returns the members of meta_data that have a value.
func wooMeta(f *fields) []*fields {
	all := f.list("meta_data")
	for _, m := range all {
		m.skipAll()
	}
	return slices.DeleteFunc(all, func(m *fields) bool { return !m.written("value") && !m.written("display_value") })
}

// wooShipping refuses the order if its parcel would not be sent to its address.
func wooShipping(c *conversion, l *fields, lines []*fields) {
	by, _, _ := strings.Cut(strings.TrimPrefix(l.text("method_id"), "legacy_"), ":") // older versions append the instance's number
	switch by {
	case "", "flat_rate", "free_shipping":
	case "local_pickup", "pickup_location":
		c.noPlace(l.at+"method_id", "the customer collects it, but it would be shipped")
	default:
		c.note(l.at+"method_id", "is %.100q, which has no counterpart and is left out", by)
	}
	for _, m := range wooMeta(l) {
		if key := m.text("key"); key != "Items" && !wooItems(lines, m) {
			c.noPlace(l.at+"meta_data", fmt.Sprintf("%.100q may change the destination of the parcel", key))
		}
	}
	l.skip("id", "total", "total_tax", "taxes", "instance_id", "tax_status")
}

// wooItems reports whether m is the list of lines that WooCommerce adds to shipping lines. Its key
// is in the shop's language: "Items" in English.
func wooItems(lines []*fields, m *fields) bool {
	var rest string
	if json.Unmarshal(m.value("value"), &rest) != nil {
		return false
	}
	for _, l := range lines {
		var name string
		if json.Unmarshal(l.value("name"), &name) == nil {
			rest = strings.Replace(rest, name+" &times; "+digits(string(l.value("quantity"))), "", 1)
		}
	}
	return strings.Trim(rest, ", ") == ""
}

// wooAmount reads an amount; 0 if it is absent.
func wooAmount(f *fields, key string) int64 {
	number := f.number(key)
	if number == "" {
		return 0
	}
	return f.c.amount(f.at+key, number)
}

// wooState refuses an order that is paid, or that the shop has processed.
func wooState(f *fields) {
	f.only("status", "only pending, on-hold and processing orders are accepted", "pending", "on-hold", "processing")
	// An order of 0 is paid at once, and nothing is charged again.
	if paid := f.has("date_paid_gmt") || f.has("date_paid"); paid && !zero.MatchString(f.number("total")) {
		f.c.wrong("date_paid", "the order is paid and would be charged again")
	}
	if f.has("refunds") {
		f.c.wrong("refunds", "the order is partly refunded, and the rest is unknown")
	}
	if f.has("date_completed_gmt") || f.has("date_completed") {
		f.c.wrong("date_completed", "the order is shipped and would be shipped again")
	}
}

// wooItem adds a line and returns its discount.
func wooItem(c *conversion, l *fields, included bool) (off int64) {
	sku := c.sku(l.at+"sku", l.text("sku"))
	full, paid := l.number("subtotal"), l.number("total")
	if full == "" || paid == "" {
		c.wrong(l.at+"subtotal", "and total are required")
		return 0
	}
	all, rest := c.amount(l.at+"subtotal", full), c.amount(l.at+"total", paid)
	if included {
		all += wooAmount(l, "subtotal_tax")
		rest += wooAmount(l, "total_tax")
	}
	off = all - rest
	if off < 0 {
		c.wrong(l.at+"total", "is more than its subtotal")
	}
	c.line(sku, l.whole("quantity"), all)
	varies := l.idOrZero("variation_id") != ""
	for _, m := range wooMeta(l) {
		key := m.text("key")
		switch {
		case slices.Contains(wooLineKeys, key):
		case varies && !strings.HasPrefix(key, "_"):
			// An attribute of the variation looks like text of the customer.
			c.note(m.at+"key", "%.100q has no counterpart and is left out: the variation's SKU must identify it", key)
		default: // a plugin's keys start with _ too
			c.noPlace(l.at+"meta_data", fmt.Sprintf("by %.100q the item may be made to order, which would be lost", key))
		}
	}
	l.skip(
		"id",
		"name",
		"product_id",
		"variation_id",
		"tax_class",
		"subtotal_tax",
		"total_tax",
		"taxes",
		"price",
		"image",
		"parent_name",
		"global_unique_id",
	)
	return off
}

// wooTime reads a time without a zone, in UTC.
func wooTime(f *fields, key string) time.Time {
	s := f.text(key)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse("2006-01-02T15:04:05", s)
	if err != nil {
		f.c.wrong(f.at+key, "must be a time such as 2026-11-23T10:00:00, in UTC")
	}
	return t
}
