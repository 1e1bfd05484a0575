package wire

import (
	"bytes"
	"errors"
	"net/http"
	"sync"
)

// MaxRequest is the largest request body that ReadBody accepts, in bytes. SQS takes
// 1 MiB of message text, which JSON escapes or form encoding make up to six times
// as long; DynamoDB takes 16 MB.
const MaxRequest = 24 << 20

// keepBuffer is the capacity, in bytes, up to which a buffer is kept for the next request.
const keepBuffer = 256 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// GetBuffer borrows a scratch buffer from a pool; PutBuffer returns it. It is safe
// for concurrent use.
func GetBuffer() *[]byte { return buffers.Get().(*[]byte) } //nolint:forcetypeassert // PutBuffer accepts no other type

// PutBuffer returns a buffer to the pool. The caller must not use it, or a slice of
// it, afterwards.
func PutBuffer(b *[]byte) {
	if cap(*b) <= keepBuffer {
		buffers.Put(b)
	}
}

// ReadBody appends the request's body to buf and returns the result. A body larger
// than MaxRequest, or one that breaks off, is an *Error.
func ReadBody(w http.ResponseWriter, r *http.Request, buf []byte) ([]byte, error) {
	body := bytes.NewBuffer(buf)
	if n := r.ContentLength; n > 0 && n <= MaxRequest {
		body.Grow(int(n) + bytes.MinRead)
	}
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, MaxRequest))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &Error{
			Status: http.StatusRequestEntityTooLarge, Code: "RequestEntityTooLarge",
			Message: "The request is larger than the local endpoint reads.",
		}
	}
	if err != nil {
		return nil, &Error{Code: "IncompleteBody", Message: "The request body could not be read: " + err.Error()}
	}
	return body.Bytes(), nil
}
