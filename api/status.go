package api

import (
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/order"
)

// describeStatus adds the order state machine to the status fields of the document.
func describeStatus(doc *huma.OpenAPI) {
	for _, name := range []string{"Saga", "Accepted"} {
		doc.Components.Schemas.Map()[name].Properties["status"].Description = statusDescription()
	}
}

// statusDescription lists the statuses that can follow each status, as order.Transitions
// has them.
func statusDescription() string {
	var rows []string
	for _, status := range order.Statuses() {
		if next := following(status); len(next) > 0 {
			rows = append(rows, string(status)+" -> "+joined(next, ", "))
		}
	}
	return "Status of the order. " + joined(order.TerminalStatuses(), ", ") + " are terminal. Transitions: " + strings.Join(rows, "; ") + "."
}

// following returns the other statuses that an event can move an order to, in their order.
func following(from order.Status) []order.Status {
	return slices.DeleteFunc(order.Statuses(), func(to order.Status) bool {
		return to == from || !slices.ContainsFunc(order.Transitions(), func(t order.Transition) bool {
			return t.To == to && from.Allows(t.Event)
		})
	})
}
