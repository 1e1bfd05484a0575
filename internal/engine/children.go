package engine

import (
	"fmt"

	"github.com/dapr/durabletask-go/api/protos"
)

// Types of the errors with which a parent's task for a child fails, other than
// those of the child's own failure.
const (
	// ChildNotStarted means that the child's id is not valid or is taken.
	ChildNotStarted = "ordersaga.ChildNotStarted"
	// childTerminated means that the child was terminated.
	childTerminated = "ordersaga.ChildTerminated"
	// answerLost means that the answer to a task cannot be known.
	answerLost = "ordersaga.AnswerLost"
)

// ChildTerminated returns the failure of a child that was terminated. Neither the
// SDK nor Dapr sends one (durabletask-go v0.12.1), and the SDK takes a child that
// failed without details for one that succeeded.
func ChildTerminated(id string) *protos.TaskFailureDetails {
	return &protos.TaskFailureDetails{ErrorType: childTerminated, ErrorMessage: fmt.Sprintf("child saga %s was terminated", id)}
}

// AnswerLost returns the failure of an activity for which an engine delivered the
// answer to another one.
func AnswerLost() *protos.TaskFailureDetails {
	return &protos.TaskFailureDetails{ErrorType: answerLost, ErrorMessage: "the outcome is not known: " +
		"the answer to an activity of an earlier run of this saga was delivered in place of this one's"}
}
