package order

import "slices"

// Event is something that happens to an order and that the order's record keeps: most
// events move it to another status, some only set a flag. It is not a message type.
type Event string

// The events. Their values are the labels in docs/order-states.md; nothing stores them.
const (
	Accepted Event = "accepted"

	StockReserved     Event = "stock reserved"
	ApprovalRequested Event = "stock reserved, approval requested"
	OutOfStock        Event = "out of stock"

	Approved         Event = "approved"
	ApprovalRejected Event = "approval rejected"
	ApprovalExpired  Event = "approval expired"

	Paid              Event = "paid"
	ShipmentRequested Event = "shipment requested"
	Dispatched        Event = "dispatched by the carrier"
	Refused           Event = "refused by the carrier"
	Completed         Event = "completed"
	SaleFound         Event = "accepted again, but sold"
	SaleReopened      Event = "refused after completion"

	CancelRequested Event = "cancellation requested"
	RefundStarted   Event = "refund started"
	Refunded        Event = "refunded"
	Rejected        Event = "compensated: rejected"
	Declined        Event = "compensated: payment declined"
	Cancelled       Event = "compensated: cancelled"
	Failed          Event = "compensated: failed"

	AttentionNeeded         Event = "step keeps failing"
	Resolved                Event = "resolution recorded"
	StepDoneByHand          Event = "step done by hand"
	Abandoned               Event = "abandoned"
	ResumedUnreserved       Event = "resumed, nothing reserved"
	ResumedReserved         Event = "resumed, stock reserved"
	ResumedAwaitingApproval Event = "resumed, approval pending"
	ResumedPaid             Event = "resumed, charged"

	MarkTerminated Event = "saga terminated"
	SagaRestarted  Event = "saga restarted"
	CustomerErased Event = "customer erased"
)

// Transition is a row of the order state machine: what one event requires of an order's
// status, and what it makes of it.
type Transition struct {
	Event Event
	// From are the statuses in which the event can happen. Accepted has the zero Status.
	From []Status
	// To is the status afterwards; "" means that the event keeps the status.
	To Status
	// Also is what the store requires besides the status, in words; "" if nothing.
	Also string
}

// transitions is the order state machine. It is the only place that has it: the store
// builds its conditional writes from it, the API, the console and the reconciler ask it,
// and docs/order-states.md draws it. Status is not the whole state of an order. Where an
// event also depends on a flag of the record or on its reservation, Also has that; the
// code is in internal/orderstore.
var transitions = []Transition{
	{Event: Accepted, From: []Status{""}, To: StatusPending, Also: "the order id is new"},

	{Event: StockReserved, From: []Status{StatusPending}, To: StatusReserved, Also: "every line is available; the order has no reservation"},
	{
		Event: ApprovalRequested, From: []Status{StatusPending}, To: StatusAwaitingApproval,
		Also: "every line is available; the order has no reservation",
	},
	{Event: OutOfStock, From: []Status{StatusPending}, To: StatusRejected},

	{Event: Approved, From: []Status{StatusAwaitingApproval}, Also: undecided},
	{Event: ApprovalRejected, From: []Status{StatusAwaitingApproval}, Also: undecided},
	{Event: ApprovalExpired, From: []Status{StatusAwaitingApproval}, Also: undecided},

	{
		Event: Paid, From: []Status{StatusReserved, StatusAwaitingApproval, StatusPaid}, To: StatusPaid,
		Also: "approval neither rejected nor expired; charged, or free of charge",
	},
	// A shipment step that was parked continues from NEEDS_ATTENTION.
	{
		Event: ShipmentRequested, From: []Status{StatusPaid, StatusNeedsAttention}, To: StatusPaid,
		Also: "approval neither rejected nor expired; charged, or free of charge; not being refunded; not refused by the carrier; " +
			"no cancellation requested before",
	},
	// The carrier can answer at any time, so its answer is kept in every status.
	{Event: Dispatched, From: Statuses(), Also: "this shipment was requested; first answer of the carrier"},
	{Event: Refused, From: Statuses(), Also: "this shipment was requested; first answer of the carrier"},
	{
		Event: Completed, From: []Status{StatusPaid, StatusNeedsAttention}, To: StatusCompleted,
		Also: "approval neither rejected nor expired; charged, or free of charge; not being refunded; not refused by the carrier; " +
			"not abandoned; its stock is reserved, or its reservation is gone and its shipment was requested",
	},
	{
		Event: SaleFound, From: []Status{StatusPending}, To: StatusCompleted,
		Also: "its stock is sold: its record was lost, and it was accepted again",
	},
	// Completed before the carrier answered, with --no-await-carrier. Refused is what
	// happens to a COMPLETED order whose sale cannot be reopened.
	{
		Event: SaleReopened, From: []Status{StatusCompleted}, To: StatusPaid,
		Also: "this shipment was requested; first answer of the carrier; not being refunded; no tracking id; its stock was not counted since",
	},

	{
		Event: CancelRequested, From: []Status{StatusPending, StatusReserved, StatusAwaitingApproval, StatusPaid},
		Also: "no shipment requested; approval neither rejected nor expired; no cancellation requested before",
	},
	// A saga whose order another one ended may still compensate: only a sale keeps its money.
	{Event: RefundStarted, From: slices.DeleteFunc(Statuses(), func(s Status) bool { return s == StatusCompleted })},
	{Event: Refunded, From: Statuses()},
	{Event: Rejected, From: OpenStatuses(), To: StatusRejected, Also: unsold},
	{Event: Declined, From: OpenStatuses(), To: StatusDeclined, Also: unsold},
	{Event: Cancelled, From: OpenStatuses(), To: StatusCancelled, Also: unsold},
	{Event: Failed, From: OpenStatuses(), To: StatusFailed, Also: unsold},

	{Event: AttentionNeeded, From: OpenStatuses(), To: StatusNeedsAttention},
	{Event: Resolved, From: []Status{StatusNeedsAttention}, Also: "no resolution recorded before"},
	{
		Event: StepDoneByHand, From: []Status{StatusNeedsAttention}, To: StatusNeedsAttention,
		Also: "not being refunded; not refused by the carrier; not abandoned",
	},
	{Event: Abandoned, From: []Status{StatusNeedsAttention}, To: StatusNeedsAttention},
	{Event: ResumedUnreserved, From: []Status{StatusNeedsAttention}, To: StatusPending, Also: "not abandoned"},
	{Event: ResumedReserved, From: []Status{StatusNeedsAttention}, To: StatusReserved, Also: "not abandoned"},
	{Event: ResumedAwaitingApproval, From: []Status{StatusNeedsAttention}, To: StatusAwaitingApproval, Also: "not abandoned"},
	{Event: ResumedPaid, From: []Status{StatusNeedsAttention}, To: StatusPaid, Also: "not abandoned"},

	{Event: MarkTerminated, From: OpenStatuses()},
	{Event: SagaRestarted, From: Statuses()},
	{Event: CustomerErased, From: TerminalStatuses()},
}

const (
	undecided = "no decision yet; no shipment or cancellation requested"
	unsold    = "its stock is not sold"
)

// Transitions returns the whole state machine, one row for each event, in the order of
// an order's progress. The caller must not modify the rows' From.
func Transitions() []Transition { return slices.Clone(transitions) }

// From returns the statuses in which e can happen; none for an unknown event. The caller
// may modify the slice.
func From(e Event) []Status { return slices.Clone(transition(e).From) }

// To returns the status after e; "" for an event that keeps the status, and for an unknown
// one.
func To(e Event) Status { return transition(e).To }

// Next returns the status of an order of status s after e. It reports false if e cannot
// happen in s.
func Next(s Status, e Event) (Status, bool) {
	t := transition(e)
	if !slices.Contains(t.From, s) {
		return "", false
	}
	if t.To == "" {
		return s, true
	}
	return t.To, true
}

// EndedAs returns the event that ends an order with the status final, other than as
// COMPLETED. It reports false for every other status.
func EndedAs(final Status) (Event, bool) {
	switch final {
	case StatusRejected:
		return Rejected, true
	case StatusDeclined:
		return Declined, true
	case StatusCancelled:
		return Cancelled, true
	case StatusFailed:
		return Failed, true
	default:
		return "", false
	}
}

// CompensatedStatuses returns the statuses of orders that have ended otherwise than
// COMPLETED, so without their stock: those of EndedAs. The caller may modify the slice.
func CompensatedStatuses() []Status {
	return slices.DeleteFunc(Statuses(), func(s Status) bool {
		_, ok := EndedAs(s)
		return !ok
	})
}

// ResumedAs returns the event that takes an order that needs attention back to the
// status to. It reports false if there is none.
func ResumedAs(to Status) (Event, bool) {
	switch to {
	case StatusPending:
		return ResumedUnreserved, true
	case StatusReserved:
		return ResumedReserved, true
	case StatusAwaitingApproval:
		return ResumedAwaitingApproval, true
	case StatusPaid:
		return ResumedPaid, true
	default:
		return "", false
	}
}

func transition(e Event) Transition {
	i := slices.IndexFunc(transitions, func(t Transition) bool { return t.Event == e })
	if i < 0 {
		return Transition{}
	}
	return transitions[i]
}
