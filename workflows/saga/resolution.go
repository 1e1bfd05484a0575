package saga

import "strings"

// Action is what an operator decides for a parked saga.
type Action string

// Actions on a parked step or compensation.
const (
	ActionRetry      Action = "retry"      // try again, with a fresh budget
	ActionSkip       Action = "skip"       // leave it out and go on
	ActionResolve    Action = "resolve"    // the operator has done it by hand; go on
	ActionCompensate Action = "compensate" // give up a step after the point of no return: undo what was done
)

// Valid reports whether a is one of the actions.
func (a Action) Valid() bool {
	return a == ActionRetry || a == ActionSkip || a == ActionResolve || a == ActionCompensate
}

// Resolution is an operator's answer to a saga that needs attention.
type Resolution struct {
	Action Action `json:"action"`
	By     string `json:"by,omitempty"`
	Note   string `json:"note,omitempty"`
}

// Reason is why an order ended that was given up.
func (r Resolution) Reason() string { return Reason("compensated", r.By, r.Note) }

// parkedStatus begins the custom status of a saga that waits for a Resolution.
const parkedStatus = "needs attention: "

// IsParked reports, by its custom status, whether a saga waits for a Resolution.
func IsParked(customStatus string) bool { return strings.HasPrefix(customStatus, parkedStatus) }

// settleStatus begins the custom status of a saga whose wait is over, while
// Wait.Settle decides.
const settleStatus = "settle "

// undoStatus begins the custom status of a saga that compensates a step.
const undoStatus = "undo "

// IsUndoing reports, by its custom status, whether a saga compensates.
func IsUndoing(customStatus string) bool { return strings.HasPrefix(customStatus, undoStatus) }

// ParkedAt is the step at which a saga waits for a Resolution, or "".
func ParkedAt(customStatus string) string {
	if step, parked := strings.CutPrefix(customStatus, parkedStatus); parked {
		return step
	}
	return ""
}
