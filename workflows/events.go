package workflows

// OrderSaga is the name that order workflows are registered and started
// under. It must never change: sagas in flight carry it.
const OrderSaga = "OrderSaga"

// Versions of OrderSaga. New sagas start with Version; each ends by its own version. A
// change that replays differently gets the next version. Its predecessor stays
// registered beside it until its last saga has ended: deploy workers that have both
// versions, and only then workers without the old one.
//
// From v2 on, a saga that needs attention because the carrier did not answer continues
// when the answer comes. From v3 on, an approval's timeout is a decision like the
// others: the first decision in the order's record holds.
const (
	Version   = "v3"
	VersionV2 = "v2"
	VersionV1 = "v1"
)

// Names of the events that an order saga waits for. They are part of the history of
// sagas in flight and must never change.
const (
	EventCancel   = "cancel"   // payload Cancellation
	EventApproval = "approval" // payload Approval
	EventCarrier  = "carrier"  // payload CarrierAnswer
	EventResolve  = "resolve"  // payload saga.Resolution
)

// Cancellation requests that the saga stops and compensates. It is accepted until the
// shipment is requested.
type Cancellation struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Approval is an approver's decision on an order above the approval limit. The zero
// value refuses it.
type Approval struct {
	Approved bool   `json:"approved"`
	By       string `json:"by,omitempty"`
	Note     string `json:"note,omitempty"`
}

// CarrierAnswer is the carrier's answer to a shipment request. The zero value is a
// refusal without a reason.
type CarrierAnswer struct {
	Dispatched bool   `json:"dispatched"`
	TrackingID string `json:"trackingId,omitempty"`
	Reason     string `json:"reason,omitempty"`
}
