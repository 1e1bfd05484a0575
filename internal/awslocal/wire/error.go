package wire

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
)

// Error is an AWS error response: the answer to a request that is rejected.
type Error struct {
	Status  int    // HTTP status; 0 means 400
	Shape   string // JSON protocol's name, for example com.amazonaws.sqs#QueueDoesNotExist; empty: Code
	Code    string // query protocol's code, for example AWS.SimpleQueueService.NonExistentQueue
	Message string
	Server  bool // the fault is the service's, not the sender's
}

// Error returns the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

func (e *Error) fault() string {
	if e.Server {
		return "Receiver"
	}
	return "Sender"
}

// AsError returns the *Error in err's chain. Any other error becomes an
// InternalFailure with status 500. err must not be nil.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Status: http.StatusInternalServerError, Code: "InternalFailure", Message: err.Error(), Server: true}
}

// WriteJSONError writes err as an AWS JSON 1.0 error response. SDKs read the older
// error code from its X-Amzn-Query-Error header.
func WriteJSONError(w http.ResponseWriter, err error) {
	e := AsError(err)
	shape := e.Shape
	if shape == "" {
		shape = e.Code
	}
	//nolint:errchkjson // two strings always marshal
	body, _ := json.Marshal(struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}{Type: shape, Message: e.Message})
	h := w.Header()
	h.Set("Content-Type", "application/x-amz-json-1.0")
	fault := "Sender"
	if e.Server {
		fault = "Receiver"
	}
	h.Set("X-Amzn-Query-Error", e.Code+";"+fault)
	w.WriteHeader(e.status())
	_, _ = w.Write(body) // fails only if the client has disconnected
}

// WriteXMLError writes err as a query-protocol error response. namespace is the
// service's XML namespace.
func WriteXMLError(w http.ResponseWriter, namespace, requestID string, err error) {
	e := AsError(err)
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ErrorResponse xmlns="` + namespace + `"><Error>`)
	element(&b, "Type", e.fault())
	element(&b, "Code", e.Code)
	element(&b, "Message", e.Message)
	b.WriteString("</Error>")
	element(&b, "RequestId", requestID)
	b.WriteString("</ErrorResponse>")
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(e.status())
	_, _ = w.Write(b.Bytes())
}

func (e *Error) status() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}
