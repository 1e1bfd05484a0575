package workflows

// OrderSaga is the name that order workflows are registered and started
// under. It must never change: sagas in flight carry it.
const OrderSaga = "OrderSaga"

// Version is the version of OrderSaga that new sagas begin with; each ends by
// its own. A change that replays differently gets the next version, and its
// predecessor stays registered beside it until its last saga has ended: deploy
// workers that know both, and only then any that do not know the old one.
//
// From v2 on a saga that is parked for want of the carrier's answer goes on when
// the answer comes. From v3 on the end of the time for an approval is a decision
// like the others: the first that the order's record has holds.
const (
	Version   = "v3"
	VersionV2 = "v2"
	VersionV1 = "v1"
)

// Events that an order saga waits for. The names are part of the history of
// sagas in flight.
const (
	EventCancel   = "cancel"   // payload Cancellation
	EventApproval = "approval" // payload Approval
	EventCarrier  = "carrier"  // payload CarrierAnswer
	EventResolve  = "resolve"  // payload saga.Resolution
)

// Cancellation asks to stop and undo the saga. It is honoured up to the
// shipment request.
type Cancellation struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Approval is a person's decision on an order above the approval limit.
type Approval struct {
	Approved bool   `json:"approved"`
	By       string `json:"by,omitempty"`
	Note     string `json:"note,omitempty"`
}

// CarrierAnswer is the carrier's answer to a shipment request.
type CarrierAnswer struct {
	Dispatched bool   `json:"dispatched"`
	TrackingID string `json:"trackingId,omitempty"`
	Reason     string `json:"reason,omitempty"`
}
