package sqs

import (
	"fmt"
	"net/http"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// Prefixes of error names in the JSON protocol (shape, coral), and of the query
// protocol's older error codes (legacyPrefix).
const (
	shape            = "com.amazonaws.sqs#"
	coral            = "com.amazon.coral.service#"
	legacyPrefix     = "AWS.SimpleQueueService."
	nonExistentQueue = legacyPrefix + "NonExistentQueue"
)

func errNoQueue() *wire.Error {
	return &wire.Error{Shape: shape + "QueueDoesNotExist", Code: nonExistentQueue, Message: "The specified queue does not exist."}
}

// errLegacy returns an error whose query-protocol code has the legacy prefix.
func errLegacy(name, message string) *wire.Error {
	return &wire.Error{Shape: shape + name, Code: legacyPrefix + name, Message: message}
}

func errUnsupported(message string) *wire.Error { return errLegacy("UnsupportedOperation", message) }

func errInvalidHandle(handle string) *wire.Error {
	return &wire.Error{
		Status: http.StatusNotFound, Shape: shape + "ReceiptHandleIsInvalid", Code: "ReceiptHandleIsInvalid",
		Message: fmt.Sprintf("The input receipt handle %q is not a valid receipt handle.", handle),
	}
}

// errInvalidValue returns AWS's error for a parameter that is out of range.
func errInvalidValue(value any, parameter, reason string) *wire.Error {
	return &wire.Error{
		Shape: coral + "InvalidParameterValueException", Code: "InvalidParameterValue",
		Message: fmt.Sprintf("Value %v for parameter %s is invalid. Reason: %s", value, parameter, reason),
	}
}

func errMissing(parameter string) *wire.Error {
	return &wire.Error{
		Shape: coral + "MissingRequiredParameterException", Code: "MissingParameter",
		Message: "The request must contain the parameter " + parameter + ".",
	}
}

func errInvalidAttribute(message string) *wire.Error {
	return &wire.Error{Shape: shape + "InvalidAttributeValue", Code: "InvalidAttributeValue", Message: message}
}

func errUnknownAttribute(name string) *wire.Error {
	return &wire.Error{Shape: shape + "InvalidAttributeName", Code: "InvalidAttributeName", Message: "Unknown Attribute " + name + "."}
}
