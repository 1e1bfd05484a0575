package saga

// Action is what an operator decides for a parked saga.
type Action string

// Actions on a compensation that keeps failing.
const (
	ActionRetry   Action = "retry"   // try the compensation again, with a fresh budget
	ActionSkip    Action = "skip"    // leave this compensation out and run the rest
	ActionResolve Action = "resolve" // the operator has undone it by hand; run the rest
)

// Resolution is an operator's answer to a saga that needs attention.
type Resolution struct {
	Action Action `json:"action"`
	By     string `json:"by,omitempty"`
	Note   string `json:"note,omitempty"`
}
