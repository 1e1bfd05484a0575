package sqs

import (
	"fmt"
	"net/http"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

const (
	shape    = "com.amazonaws.sqs#"
	oldCode  = "AWS.SimpleQueueService."
	coral    = "com.amazon.coral.service#"
	notExist = oldCode + "NonExistentQueue"
)

func errNoQueue() *wire.Error {
	return &wire.Error{Shape: shape + "QueueDoesNotExist", Code: notExist, Message: "The specified queue does not exist."}
}

// errOld is one of those with an older code.
func errOld(name, message string) *wire.Error {
	return &wire.Error{Shape: shape + name, Code: oldCode + name, Message: message}
}

func errUnsupported(message string) *wire.Error { return errOld("UnsupportedOperation", message) }

func errHandle(handle string) *wire.Error {
	return &wire.Error{
		Status: http.StatusNotFound, Shape: shape + "ReceiptHandleIsInvalid", Code: "ReceiptHandleIsInvalid",
		Message: fmt.Sprintf("The input receipt handle %q is not a valid receipt handle.", handle),
	}
}

// errValue is AWS's answer to a parameter out of range.
func errValue(value any, parameter, reason string) *wire.Error {
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

func errAttribute(message string) *wire.Error {
	return &wire.Error{Shape: shape + "InvalidAttributeValue", Code: "InvalidAttributeValue", Message: message}
}

func errAttributeName(name string) *wire.Error {
	return &wire.Error{Shape: shape + "InvalidAttributeName", Code: "InvalidAttributeName", Message: "Unknown Attribute " + name + "."}
}
