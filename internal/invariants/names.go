package invariants

// The names of the invariants. Every violation that is reported begins with one
// of them. docs/invariants.md defines each and lists the commands that prove it.
// Run verifies I1 to I5; tests verify the others.
const (
	NeverOversold           = "I1 never oversold"
	NothingLost             = "I2 nothing is lost"
	OneCharge               = "I3 one charge"
	OneShipment             = "I4 one shipment"
	NothingHeld             = "I5 no reservation left"
	DuplicatesChangeNothing = "I6 duplicates change nothing"
	SurvivesCrashes         = "I7 survives crashes"
	ScaleInStrandsNothing   = "I8 scaling in strands nothing"

	// NoTokenKept has no number: an order that has ended stores no payment token.
	NoTokenKept = "no token kept"
)

// Names returns I1 to I8, in order.
func Names() []string {
	return []string{
		NeverOversold, NothingLost, OneCharge, OneShipment, NothingHeld, DuplicatesChangeNothing, SurvivesCrashes, ScaleInStrandsNothing,
	}
}
