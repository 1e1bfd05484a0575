package importer

import (
	"cmp"

	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
)

// commercetools converts an Order of commercetools' HTTP API:
// https://docs.commercetools.com/api/projects/orders#order. The customer pays
// taxedPrice.totalGross; totalPrice contains the tax only if the prices include it.
type commercetools struct{ *conversion }

// fromCommercetools converts one order.
func fromCommercetools(c *conversion, f *fields) {
	t := commercetools{conversion: c}
	total := f.object("totalPrice")
	c.out.Currency = total.text("currencyCode")
	c.out.OrderID = c.id("id", f.text("id"))
	c.out.CustomerID = cmp.Or(f.text("customerId"), c.out.CustomerID)
	c.out.PlacedAt = f.time("createdAt")
	t.state(f)

	for _, l := range f.list("lineItems") {
		c.out.Discount += t.item(l)
	}
	for _, l := range f.list("customLineItems") {
		t.noPlace(l.at[:len(l.at)-1], "it is not a stock item and would be neither shipped nor charged")
		l.skipAll()
	}
	if s := f.object("shippingInfo"); s != nil {
		price := s.object("price")
		if d := s.object("discountedPrice"); d != nil {
			price.skipAll()
			price = d.object("value")
			d.skipAll()
		}
		c.out.Shipping = t.money(price)
		s.noPlace("a part of the order is shipped and would be shipped again", "deliveries")
		s.noPlace("it may change the destination of the parcel", "custom")
		s.skip("shippingRate", "taxedPrice", "taxRate", "taxCategory", "shippingMethod", "shippingMethodState")
	}
	if d := f.object("discountOnTotalPrice"); d != nil {
		c.out.Discount += t.money(d.object("discountedAmount"))
		d.skipAll()
	}
	c.totalAt = "totalPrice"
	net := t.money(total)
	c.total = net
	if p := f.object("taxedPrice"); p != nil {
		c.totalAt = "taxedPrice.totalGross"
		c.total = t.money(p.object("totalGross"))
		p.skipAll()
		if c.total < net {
			c.wrong(c.totalAt, "is less than totalPrice")
		}
		c.out.Tax = max(c.total-net, 0)
	} else if f.text("taxMode") != "Disabled" {
		c.wrong("taxedPrice", "is missing: without the tax, the total is unknown")
	}
	unpaid := []string{"", "BalanceDue", "Pending"}
	if c.total == 0 { // nothing is charged again
		unpaid = append(unpaid, "Paid")
	}
	f.only("paymentState", "the order is paid and would be charged again", unpaid...)
	t.address(f)
	f.only("type", "only type Order is accepted", "", "Order")
	f.skip(
		"version",
		"lastModifiedAt",
		"orderNumber",
		"anonymousId",
		"customerEmail",
		"customerGroup",
		"store",
		"businessUnit",
		"billingAddress",
		"cart",
		"quote",
		"country",
		"locale",
		"origin",
		"lastMessageSequenceNumber",
		"inventoryMode",
		"taxMode",
		"taxRoundingMode",
		"taxCalculationMode",
		"priceRoundingMode",
		"taxedShippingPrice",
		"paymentInfo",
		"createdBy",
		"lastModifiedBy",
		"discountCodes",
		"directDiscounts",
		"refusedGifts",
		"shippingRateInput",
		"shippingMode",
		"discountTypeCombination",
		"shippingKey",
	)
}

// state refuses an order that the shop has processed, or that has several addresses.
func (t commercetools) state(f *fields) {
	f.only("orderState", "only Open and Confirmed orders are accepted", "Open", "Confirmed")
	f.only("shipmentState", "the order is shipped and would be shipped again", "", "Ready", "Pending", "Delayed", "Backorder")
	f.noPlace("an order has one address and one shipping price", "itemShippingAddresses", "shipping")
	if f.has("completedAt") {
		t.wrong("completedAt", "the order is shipped and would be shipped again")
	}
	if f.has("returnInfo") {
		t.wrong("returnInfo", "a part of the order is returned, and the rest is unknown")
	}
	f.noPlace("its meaning for the order is unknown", "custom", "recurringOrder", "recurrenceInfo")
}

// item adds a line and returns its discount.
func (t commercetools) item(l *fields) (off int64) {
	v := l.object("variant")
	sku := t.sku(l.at+"variant.sku", v.text("sku"))
	v.skipAll()
	quantity := l.whole("quantity")
	total := l.object("totalPrice")
	if total == nil {
		t.wrong(l.at+"totalPrice", "is missing")
	}
	all := t.money(total)
	p := l.object("price")
	value := p.object("value")
	if d := p.object("discounted"); d != nil {
		value.skipAll()
		value = d.object("value")
		d.skipAll()
	}
	p.skipAll()
	// A price with more decimals than the currency, or one that was set for the whole line, is
	// not the price of one unit.
	if value != nil && value.text("type") != "highPrecision" && l.text("priceMode") != "ExternalTotal" && 0 < quantity &&
		quantity <= order.MaxQuantity {
		if each := t.money(value); each <= order.MaxUnitPrice && each*quantity >= all {
			off, all = each*quantity-all, each*quantity
		}
	}
	value.skipAll()
	t.line(sku, quantity, all)
	if d := l.object("shippingDetails"); d != nil {
		d.noPlace("an order has one address", "targets")
		d.skipAll()
	}
	l.noPlace("the item may be made to order, which would be lost", "custom")
	l.noPlace("it is a recurring order and would be shipped once", "recurrenceInfo")
	l.skip(
		"id",
		"key",
		"productId",
		"productKey",
		"productSlug",
		"productType",
		"name",
		"taxRate",
		"taxedPrice",
		"taxedPricePortions",
		"perMethodTaxRate",
		"state",
		"priceMode",
		"lineItemMode",
		"discountedPrice",
		"discountedPricePerQuantity",
		"distributionChannel",
		"inventoryMode",
		"addedAt",
		"lastModifiedAt",
		"priceRoundingMode",
	)
	return off
}

// money reads an amount in minor units; 0 if it is absent.
func (t commercetools) money(m *fields) int64 {
	if m == nil {
		return 0
	}
	defer m.skipAll()
	if code := m.text("currencyCode"); code != t.out.Currency {
		t.wrong(m.at+"currencyCode", "is %.10q, but that of totalPrice is %.10q", code, t.out.Currency)
		return 0
	}
	digits, known := money.Digits(t.out.Currency)
	if n := m.value("fractionDigits"); known && m.text("type") != "highPrecision" && n != nil && m.whole("fractionDigits") != int64(digits) {
		t.wrong(m.at+"fractionDigits", "is %s, but %s has %d", n, t.out.Currency, digits)
	}
	if m.value("centAmount") == nil {
		t.wrong(m.at+"centAmount", "is missing")
	}
	cents := m.whole("centAmount")
	if cents < 0 {
		t.wrong(m.at+"centAmount", "is %d, but an amount must be 0 or more", cents)
	}
	return max(cents, 0)
}

// address converts the shipping address.
func (t commercetools) address(f *fields) {
	a := f.object("shippingAddress")
	if a == nil {
		return
	}
	t.out.ShipTo = &order.Address{
		Name:  join(" ", a.text("firstName"), a.text("lastName")),
		Line1: join(" ", a.text("streetName"), a.text("streetNumber")),
		Line2: join(
			", ",
			a.text("company"),
			a.text("department"),
			a.text("building"),
			a.text("apartment"),
			a.text("pOBox"),
			a.text("additionalStreetInfo"),
			a.text("additionalAddressInfo"),
		),
		City: a.text("city"), Region: cmp.Or(a.text("region"), a.text("state")),
		PostalCode: a.text("postalCode"), Country: a.text("country"), Phone: cmp.Or(a.text("mobile"), a.text("phone")),
	}
	for taken, other := range map[string]string{"region": "state", "mobile": "phone"} {
		if s := a.text(other); a.has(taken) && s != "" && s != a.text(taken) {
			t.note(a.at+other, "has no counterpart and is left out: %s is used", taken)
		}
	}
	a.noPlace("it may change the destination of the parcel", "custom")
	a.skip("id", "key", "externalId", "email", "fax")
}
