package sns

import (
	"net/http"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// errInvalid is AWS's answer to nearly every bad parameter.
func errInvalid(message string) *wire.Error {
	return &wire.Error{Code: "InvalidParameter", Message: "Invalid parameter: " + message}
}

func errNotFound(what string) *wire.Error {
	return &wire.Error{Status: http.StatusNotFound, Code: "NotFound", Message: what + " does not exist"}
}

func errBatch(code, message string) *wire.Error { return &wire.Error{Code: code, Message: message} }
