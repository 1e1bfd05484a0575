package shipment_test

import (
	"testing"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// BenchmarkRequestShipment is one publish through the SDK over loopback, with
// the local endpoint's delivery to the carrier's queue.
func BenchmarkRequestShipment(b *testing.B) {
	a := testkit.NewAWS(b, nil)
	p := shipment.New(a.Clients.SNS, a.Resources.ShipmentTopic, a.Resources.CustomerTopic)
	before := a.Clients.Calls()
	b.ReportAllocs()
	for b.Loop() {
		if err := p.RequestShipment(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(a.Clients.Calls()-before)/float64(b.N), "calls/op")
}
