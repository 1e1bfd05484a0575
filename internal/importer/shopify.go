package importer

import (
	"cmp"
	"math/big"
	"regexp"
	"strings"

	"github.com/ordersaga/ordersaga/internal/order"
)

// shopify converts an order of Shopify's REST Admin API, which its webhooks send too:
// https://shopify.dev/docs/api/admin-rest/latest/resources/order. Amounts are those that the
// customer sees, in presentment_currency.
type shopify struct {
	*conversion
	foreign bool // presentment_currency is not the shop's currency
}

// fromShopify converts one order.
func fromShopify(c *conversion, f *fields) {
	f = f.wrapped("order") // as in the API's responses
	s := shopify{conversion: c}
	own := f.text("currency")
	c.out.Currency = cmp.Or(f.text("presentment_currency"), own)
	s.foreign = c.out.Currency != own
	c.out.OrderID = c.id(f.at+"id", f.id("id"))
	c.out.PlacedAt = f.time("processed_at")
	if created := f.time("created_at"); c.out.PlacedAt.IsZero() {
		c.out.PlacedAt = created
	}
	customer := f.object("customer")
	c.out.CustomerID = cmp.Or(customer.id("id"), c.out.CustomerID)
	// Its note and tags are noted.
	customer.skip(shopifyCustomer...)

	s.state(f)
	for _, l := range f.list("line_items") {
		s.item(l)
	}
	c.out.Shipping = s.amount(f, "total_shipping_price")
	c.out.Discount = s.amount(f, "total_discounts")
	tax, duties := s.amount(f, "total_tax"), s.amount(f, "original_total_duties")
	c.out.Tax = duties
	if !f.flag("taxes_included") { // otherwise the prices and the shipping contain it
		c.out.Tax += tax
	}
	c.totalAt = f.at + "total_price"
	c.total = s.amount(f, "total_price")
	if f.raw["total_price"] == nil && f.raw["total_price_set"] == nil {
		c.wrong(c.totalAt, "is missing")
	}
	f.noPlace("a tip would not be charged", "total_tip_received")
	f.noPlace("additional fees would not be charged", "original_total_additional_fees_set")
	s.shipTo(f)
	s.shippingLines(f)
	f.skip(shopifyUnused...)
}

// shopifyUnused has the fields of an order that an order here has no use for.
var shopifyUnused = []string{
	"admin_graphql_api_id", "app_id", "billing_address", "browser_ip", "buyer_accepts_marketing", "cart_token",
	"checkout_id", "checkout_token", "client_details", "confirmation_number", "confirmed", "contact_email",
	"current_subtotal_price", "current_subtotal_price_set", "current_total_additional_fees_set",
	"current_total_discounts", "current_total_discounts_set", "current_total_duties_set",
	"current_total_price_set", "current_total_tax", "current_total_tax_set", "current_shipping_price_set",
	"customer_locale", "device_id", "discount_applications", "discount_codes", "duties_included", "email",
	"landing_site", "landing_site_ref", "location_id", "merchant_business_entity_id",
	"merchant_of_record_app_id", "name", "number", "order_number", "order_status_url", "payment_gateway_names",
	"phone", "reference", "referring_site", "source_identifier", "source_name", "source_url", "subtotal_price",
	"subtotal_price_set", "tax_exempt", "tax_lines", "token", "total_cash_rounding_payment_adjustment_set",
	"total_cash_rounding_refund_adjustment_set", "total_line_items_price", "total_line_items_price_set",
	"total_weight", "updated_at", "user_id", "processing_method", "gateway",
}

// shopifyCustomer has the fields of a customer that stay in the shop.
var shopifyCustomer = []string{
	"admin_graphql_api_id", "email", "phone", "first_name", "last_name", "created_at", "updated_at", "state",
	"verified_email", "multipass_identifier", "tax_exempt", "tax_exemptions", "currency", "default_address",
	"addresses", "accepts_marketing", "accepts_marketing_updated_at", "marketing_opt_in_level",
	"email_marketing_consent", "sms_marketing_consent", "orders_count", "total_spent", "last_order_id",
	"last_order_name",
}

// shipTo reads the address, if the order has one.
func (s shopify) shipTo(f *fields) {
	a := f.object("shipping_address")
	if a == nil {
		return
	}
	s.out.ShipTo = &order.Address{
		Name: cmp.Or(a.text("name"), join(" ", a.text("first_name"), a.text("last_name"))), Line1: a.text("address1"),
		Line2: join(
			", ",
			a.text("company"),
			a.text("address2"),
		), City: a.text("city"), Region: cmp.Or(a.text("province"), a.text("province_code")),
		PostalCode: a.text("zip"), Country: a.text("country_code"), Phone: cmp.Or(a.text("phone"), f.text("phone")),
	}
	if a.has("country") && s.out.ShipTo.Country == "" {
		s.wrong(a.at+"country_code", "is missing, and the country is %.100q: the address would have none", a.text("country"))
	}
	a.skip("first_name", "last_name", "province_code", "country", "latitude", "longitude")
}

// shippingLines refuses what is not shipped, or by another service.
func (s shopify) shippingLines(f *fields) {
	for _, l := range f.list("shipping_lines") {
		if by := l.text("delivery_category"); by != "" && by != "shipping" {
			s.noPlace(l.at+"delivery_category", "the customer collects it or receives it otherwise, but it would be shipped")
		}
		l.noPlace("another service ships it, and it would be shipped twice", "requested_fulfillment_service_id")
		if l.flag("is_removed") {
			s.wrong(l.at+"is_removed", "the order was changed later")
		}
		l.skip(
			"id",
			"price",
			"price_set",
			"discounted_price",
			"discounted_price_set",
			"tax_lines",
			"discount_allocations",
			"source",
			"current_discounted_price_set",
		)
	}
}

// state refuses an order that the shop has processed: a paid one would be charged again, a
// fulfilled one shipped again.
func (s shopify) state(f *fields) {
	unpaid := []string{"", "pending", "authorized"}
	if zero.MatchString(f.number("total_price")) { // an order of 0 is paid at once, and nothing is charged again
		unpaid = append(unpaid, "paid")
	}
	f.only("financial_status", "only pending and authorized orders are accepted; a paid one would be charged again", unpaid...)
	f.only("fulfillment_status", "the order is fulfilled and would be shipped again", "", "unfulfilled")
	if f.has("cancelled_at") || f.has("cancel_reason") {
		s.wrong(f.at+"cancelled_at", "the order is cancelled")
	}
	if f.has("closed_at") {
		s.wrong(f.at+"closed_at", "the order is archived and would be processed again")
	}
	for _, l := range f.list("fulfillments") {
		if l.text("status") == "cancelled" {
			s.note(l.at+"status", "the fulfillment is cancelled and is left out")
		} else {
			s.wrong(l.at+"status", "is %.100q: the order is fulfilled and would be shipped again", l.text("status"))
		}
		l.skipAll()
	}
	if f.flag("test") {
		s.wrong(f.at+"test", "the order is a test and would be shipped")
	}
	if f.has("refunds") {
		s.wrong(f.at+"refunds", "the order is partly refunded, and the rest is unknown")
	}
	for _, key := range []string{"current_total_price", "total_outstanding"} {
		now, then := f.number(key), f.number("total_price")
		if now != "" && !equal(now, then) {
			s.wrong(f.at+key, "is %.40s, and total_price is %.40s: the order was changed or partly paid later", now, then)
		}
	}
}

var decimal = regexp.MustCompile(`^[0-9]{1,18}(\.[0-9]{1,18})?$`) // no exponent: the number could be enormous

// equal reports whether two decimal numbers are equal, whatever their currency.
func equal(a, b string) bool {
	if !decimal.MatchString(a) || !decimal.MatchString(b) {
		return false
	}
	x, ok1 := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	return ok1 && ok2 && x.Cmp(y) == 0
}

// item adds a line.
func (s shopify) item(l *fields) {
	sku := s.sku(l.at+"sku", l.text("sku"))
	quantity := l.whole("quantity")
	if now := l.value("current_quantity"); now != nil && l.whole("current_quantity") != quantity {
		s.wrong(l.at+"current_quantity", "is %s of %d: the order was changed later", now, quantity)
	}
	if left := l.value("fulfillable_quantity"); left != nil && l.whole("fulfillable_quantity") != quantity {
		s.wrong(l.at+"fulfillable_quantity", "is %s of %d: the fulfilled part would be shipped again", left, quantity)
	}
	price := s.amount(l, "price")
	if l.raw["price"] == nil && l.raw["price_set"] == nil {
		s.wrong(l.at+"price", "is missing")
	}
	s.out.Lines = append(s.out.Lines, order.Line{SKU: sku, Quantity: quantity, UnitPrice: price})
	if ships := l.value("requires_shipping"); ships != nil && !l.flag("requires_shipping") {
		s.noPlace(l.at+"requires_shipping", "it must not be shipped, but would be")
	}
	l.noPlace("a gift card must not be shipped, but would be", "gift_card")
	if by := l.text("fulfillment_service"); by != "" && by != "manual" {
		s.noPlace(l.at+"fulfillment_service", "another service ships it, and it would be shipped twice")
	}
	l.only("fulfillment_status", "the order is fulfilled and would be shipped again", "", "unfulfilled")
	made, refused := l.list("properties"), false
	for _, p := range made {
		name := p.text("name")
		switch {
		case !p.written("value"):
		case strings.HasPrefix(name, "_"): // set by an app; the customer does not see it
			s.note(p.at+"name", "%.100q has no counterpart and is left out", name)
		case !refused:
			s.noPlace(l.at+"properties", "the item is made to order, which would be lost")
			refused = true
		}
	}
	for _, p := range made {
		p.skipAll()
	}
	l.skip(
		"id",
		"admin_graphql_api_id",
		"attributed_staffs",
		"current_quantity",
		"discount_allocations",
		"duties",
		"grams",
		"name",
		"pre_tax_price",
		"pre_tax_price_set",
		"product_exists",
		"product_id",
		"sales_line_item_group_id",
		"tax_lines",
		"taxable",
		"title",
		"total_discount",
		"total_discount_set",
		"variant_id",
		"variant_inventory_management",
		"variant_title",
		"vendor",
		"origin_location",
		"tip_payment_gateway",
		"tip_payment_method",
	)
}

// amount reads an amount in the customer's currency, from a field or from its "_set"; 0 if both
// are absent.
func (s shopify) amount(f *fields, key string) int64 {
	number, at := f.number(key), f.at+key
	set := f.object(key + "_set")
	which := "shop_money"
	if s.foreign {
		which = "presentment_money"
		if set == nil && number != "" && !zero.MatchString(number) {
			s.wrong(at+"_set", "is missing: %s is in the shop's currency, but the customer pays in %s", key, s.out.Currency)
		}
		number = ""
	}
	if m := set.object(which); m != nil {
		amount := m.number("amount")
		if number != "" && number != amount && !equal(number, amount) { // foreign: number is in another currency, and was dropped
			s.wrong(at, "is %.40s, and its %s_set is %.40s: the amount to charge is unknown", number, key, amount)
		}
		number, at = amount, m.at+"amount"
		if code := m.text("currency_code"); code != s.out.Currency {
			s.wrong(m.at+"currency_code", "is %.10q, but that of the order is %.10q", code, s.out.Currency)
		}
	}
	set.skip("shop_money", "presentment_money")
	if number == "" {
		return 0
	}
	return s.conversion.amount(at, number)
}
