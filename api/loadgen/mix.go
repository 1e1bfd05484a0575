package loadgen

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Mix has the shares of the kinds of orders.
type Mix map[string]int

// kind is a kind of order, with its expected outcome with the simulators of
// `ordersaga dev`.
type kind struct {
	Name    string
	want    order.Status
	refused string // HTTP status with which the API must reject it; "" if it must accept it
	twice   bool   // it is sent twice
	make    func(*order.Order)
}

func kinds() []kind {
	token := func(t string) func(*order.Order) { return func(o *order.Order) { o.Payment.Token = t } }
	return []kind{
		{Name: "ok", want: order.StatusCompleted, make: token("tok_ok")},
		{Name: "twice", want: order.StatusCompleted, twice: true, make: token("tok_ok")},
		{Name: "flaky", want: order.StatusCompleted, make: token("tok_flaky_2")},
		{Name: "lost", want: order.StatusCompleted, make: token("tok_lost_response")},
		{Name: "declined", want: order.StatusDeclined, make: token("tok_declined")},
		{Name: "short", want: order.StatusRejected, make: func(o *order.Order) {
			o.Lines = append(o.Lines, order.Line{SKU: "SKU-LOAD-NONE", Quantity: 1, UnitPrice: 1})
		}},
		{Name: "refused", want: order.StatusFailed, make: func(o *order.Order) { o.ShipTo.Name = "REFUSE" }},
		{Name: "invalid", refused: "422", make: func(o *order.Order) { o.Lines[0].Quantity = 0 }},
	}
}

// Kinds returns the names that a mix may have, separated by commas.
func Kinds() string {
	names := make([]string, 0, 8)
	for _, k := range kinds() {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}

// deck returns each kind as often as it has shares.
func (m Mix) deck() (deck []*kind, err error) {
	all := map[string]*kind{}
	for _, k := range kinds() {
		all[k.Name] = &k
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		k, ok := all[name]
		if !ok || m[name] < 0 || m[name] > 10_000 {
			return nil, fmt.Errorf("mix: %s=%d must be one of %s, with 0 to 10000 shares", name, m[name], Kinds())
		}
		for range m[name] {
			deck = append(deck, k)
		}
	}
	if len(deck) == 0 {
		return nil, fmt.Errorf("mix must have a share of at least one of %s", Kinds())
	}
	return deck, nil
}
