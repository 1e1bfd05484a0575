package saga

import "strings"

// Action is an operator's decision about a parked saga.
type Action string

// Actions on a parked step or compensation.
const (
	ActionRetry      Action = "retry"      // retry, with a fresh budget
	ActionSkip       Action = "skip"       // leave it out and continue
	ActionResolve    Action = "resolve"    // the operator has done it manually: continue
	ActionCompensate Action = "compensate" // give up a step after the point of no return, and compensate
)

// Valid reports whether a is one of the actions.
func (a Action) Valid() bool {
	return a == ActionRetry || a == ActionSkip || a == ActionResolve || a == ActionCompensate
}

// Resolution is the payload of a "resolve" signal: an operator's decision about a
// saga that needs attention.
type Resolution struct {
	Action Action `json:"action"`
	By     string `json:"by,omitempty"`   // the operator
	Note   string `json:"note,omitempty"` // why
}

// Reason returns the reason in the report of a saga that an operator gave up.
func (r Resolution) Reason() string { return Reason("compensated", r.By, r.Note) }

// parkedStatus is the prefix of the custom status of a parked saga: one that needs
// an operator's attention and waits for a Resolution.
const parkedStatus = "needs attention: "

// IsParked reports, by its custom status, whether a saga waits for a Resolution.
func IsParked(customStatus string) bool { return strings.HasPrefix(customStatus, parkedStatus) }

// settleStatus is the prefix of the custom status of a saga whose wait has ended,
// while Wait.Settle or Wait.Verify decides.
const settleStatus = "settle "

// undoStatus is the prefix of the custom status of a saga that compensates a step.
const undoStatus = "undo "

// IsUndoing reports, by its custom status, whether a saga is compensating.
func IsUndoing(customStatus string) bool { return strings.HasPrefix(customStatus, undoStatus) }

// ParkedAt returns, by its custom status, the name of the step at which a saga
// waits for a Resolution, or "".
func ParkedAt(customStatus string) string {
	if step, parked := strings.CutPrefix(customStatus, parkedStatus); parked {
		return step
	}
	return ""
}
