package wire

import (
	"bytes"
	"errors"
	"net/http"
	"sync"
)

// MaxRequest is the largest body that is read: SQS takes 1 MiB of message text,
// which JSON escapes or form encoding can make up to six times as long, and
// DynamoDB takes 16 MB.
const MaxRequest = 24 << 20

// keepBuffer is the largest buffer worth keeping for the next request.
const keepBuffer = 256 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// GetBuffer borrows a scratch buffer; give it back with PutBuffer.
func GetBuffer() *[]byte { return buffers.Get().(*[]byte) } //nolint:forcetypeassert // only these are put

// PutBuffer returns a buffer; nothing may refer to it afterwards.
func PutBuffer(b *[]byte) {
	if cap(*b) <= keepBuffer {
		buffers.Put(b)
	}
}

// ReadBody appends the request's body to buf.
func ReadBody(w http.ResponseWriter, r *http.Request, buf []byte) ([]byte, error) {
	body := bytes.NewBuffer(buf)
	if n := r.ContentLength; n > 0 && n <= MaxRequest {
		body.Grow(int(n) + bytes.MinRead)
	}
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, MaxRequest))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Code: "RequestEntityTooLarge", Message: "The request is larger than the local endpoint reads."}
	}
	if err != nil {
		return nil, &Error{Code: "IncompleteBody", Message: "The request body could not be read: " + err.Error()}
	}
	return body.Bytes(), nil
}
