package order

import "slices"

// Status is the state of an order's saga. The zero value is the state of an order that
// was not accepted yet; no stored order has it.
type Status string

// The ten statuses.
const (
	StatusPending          Status = "PENDING"           // accepted, no stock reserved yet
	StatusReserved         Status = "RESERVED"          // stock is reserved
	StatusAwaitingApproval Status = "AWAITING_APPROVAL" // stock is reserved, an approver decides
	StatusPaid             Status = "PAID"              // charged, not completed yet
	StatusCompleted        Status = "COMPLETED"         // shipped; terminal
	StatusRejected         Status = "REJECTED"          // out of stock; terminal
	StatusDeclined         Status = "DECLINED"          // the payment provider declined the charge; terminal
	StatusCancelled        Status = "CANCELLED"         // by the customer, an approver or an expired approval; terminal
	StatusFailed           Status = "FAILED"            // technical failure or refused by the carrier, compensated; terminal
	StatusNeedsAttention   Status = "NEEDS_ATTENTION"   // a step keeps failing; an operator decides
)

// Statuses returns all ten: the normal path first, then the other outcomes.
// The caller may modify the slice.
func Statuses() []Status {
	return []Status{
		StatusPending, StatusReserved, StatusAwaitingApproval, StatusPaid, StatusCompleted,
		StatusRejected, StatusDeclined, StatusCancelled, StatusFailed, StatusNeedsAttention,
	}
}

// OpenStatuses returns the statuses of orders whose saga has not ended. The caller may
// modify the slice.
func OpenStatuses() []Status { return slices.DeleteFunc(Statuses(), Status.Terminal) }

// TerminalStatuses returns the statuses of orders whose saga has ended. The caller may
// modify the slice.
func TerminalStatuses() []Status {
	return slices.DeleteFunc(Statuses(), func(s Status) bool { return !s.Terminal() })
}

// Terminal reports whether the saga has ended. A terminal status is final, except that
// a late refusal by the carrier reopens a COMPLETED order: see SaleReopened.
func (s Status) Terminal() bool {
	switch s {
	case StatusCompleted, StatusRejected, StatusDeclined, StatusCancelled, StatusFailed:
		return true
	default:
		return false
	}
}

// Valid reports whether s is one of the ten.
func (s Status) Valid() bool { return slices.Contains(Statuses(), s) }

// Allows reports whether e can happen to an order of status s. The store may have
// further conditions: see Transition.
func (s Status) Allows(e Event) bool {
	_, ok := Next(s, e)
	return ok
}
