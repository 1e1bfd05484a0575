package order

import "slices"

// Status is where an order's saga stands.
type Status string

// The ten statuses.
const (
	StatusPending          Status = "PENDING"           // accepted, nothing held yet
	StatusReserved         Status = "RESERVED"          // stock is held
	StatusAwaitingApproval Status = "AWAITING_APPROVAL" // stock is held, a person decides
	StatusPaid             Status = "PAID"              // charged, not shipped yet
	StatusCompleted        Status = "COMPLETED"         // shipped; terminal
	StatusRejected         Status = "REJECTED"          // out of stock; terminal
	StatusDeclined         Status = "DECLINED"          // payment said no; terminal
	StatusCancelled        Status = "CANCELLED"         // by customer, approver or time-out; terminal
	StatusFailed           Status = "FAILED"            // technical failure or refused by the carrier, undone; terminal
	StatusNeedsAttention   Status = "NEEDS_ATTENTION"   // a compensation keeps failing; an operator decides
)

// Statuses lists all of them, in the order of a saga's life.
func Statuses() []Status {
	return []Status{
		StatusPending, StatusReserved, StatusAwaitingApproval, StatusPaid, StatusCompleted,
		StatusRejected, StatusDeclined, StatusCancelled, StatusFailed, StatusNeedsAttention,
	}
}

// Terminal reports whether the saga has ended.
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

// LiveStatuses returns the statuses of orders that have not ended.
func LiveStatuses() []Status { return slices.DeleteFunc(Statuses(), Status.Terminal) }
