package sns

import (
	"net/http"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// errInvalid returns the error that AWS has for nearly every invalid parameter.
func errInvalid(message string) *wire.Error {
	return &wire.Error{Code: "InvalidParameter", Message: "Invalid parameter: " + message}
}

func errNotFound(what string) *wire.Error {
	return &wire.Error{Status: http.StatusNotFound, Code: "NotFound", Message: what + " does not exist"}
}

// errCode returns an error with a code of its own.
func errCode(code, message string) *wire.Error { return &wire.Error{Code: code, Message: message} }
