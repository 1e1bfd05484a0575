package hostile_test

import (
	"context"
	"encoding/json"

	"github.com/ordersaga/ordersaga/internal/carriersim"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/hostile"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// parcel reports whether the carrier has a parcel of the order.
func (g *scenario) parcel(id string) bool {
	list, _ := g.carrier.Parcels(id, "", 1)
	return len(list) > 0 && list[0].Outcome != carriersim.Refused
}

// resendTrueAnswers sends the carrier's true answers about all its parcels.
func (g *scenario) resendTrueAnswers(ctx context.Context) {
	list, _ := g.carrier.Parcels("", "", 1000)
	for _, p := range list {
		g.sendTrueAnswer(ctx, p)
	}
}

// sendTrueAnswer sends the carrier's true answer about a parcel.
func (g *scenario) sendTrueAnswer(ctx context.Context, p carriersim.Parcel) {
	a := events.CarrierAnswer{
		SpecVersion: 1, Type: "ShipmentDispatched", ShipmentID: p.ShipmentID, OrderID: p.OrderID, TrackingID: "trk-" + p.OrderID,
	}
	if p.Outcome == carriersim.Refused {
		a.Type, a.TrackingID, a.Reason = "ShipmentRefused", "", "the carrier does not deliver there"
	}
	b, err := json.Marshal(a)
	require.NoError(g, err)
	require.NoError(g, g.answers.SendText(ctx, string(b)))
	g.Note(hostile.Exchange{With: "carrier", Orders: []string{p.OrderID}, Asked: "(after the lies)", Said: string(b)})
}

// Shipments returns the carrier's records. It implements
// invariants.Shipments.
func (g *scenario) Shipments(context.Context) (all []invariants.Shipment, err error) {
	list, _ := g.carrier.Parcels("", "", 1000)
	for _, p := range list {
		all = append(all, invariants.Shipment{ShipmentID: p.ShipmentID, OrderID: p.OrderID, Refused: p.Outcome == carriersim.Refused})
	}
	return all, nil
}
