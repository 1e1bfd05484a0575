package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// JSONAppender is an output that encodes itself, so that a frequent operation does
// not pay for reflection.
type JSONAppender interface {
	// AppendJSON appends the output as JSON to b and returns the result.
	AppendJSON(b []byte) []byte
}

// InvalidValueError is an error of a type's own UnmarshalJSON. DecodeJSON returns it
// unchanged, because the JSON is well formed and only the value is invalid.
type InvalidValueError interface {
	error
	// InvalidValue marks the type.
	InvalidValue()
}

// DecodeJSON decodes an AWS JSON body into the struct that dst points to. An empty
// body changes nothing. Malformed JSON is an *Error (SerializationException).
func DecodeJSON(body []byte, dst any) error {
	if len(body) == 0 {
		return nil
	}
	return asAWS(json.Unmarshal(body, dst))
}

// UnknownFieldError reports a field of a request that its input struct does not have.
type UnknownFieldError struct{ Name string }

// Error names the field.
func (e *UnknownFieldError) Error() string { return "unknown field " + e.Name }

// DecodeStrictJSON is DecodeJSON that rejects unknown fields with an
// *UnknownFieldError, and anything after the JSON value with an *Error.
func DecodeStrictJSON(body []byte, dst any) error {
	if len(body) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(dst)
	if err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return &UnknownFieldError{Name: strings.Trim(name, `"`)}
		}
	} else if _, more := d.Token(); !errors.Is(more, io.EOF) {
		err = errors.New("the body has data after its JSON value")
	}
	return asAWS(err)
}

func asAWS(err error) error {
	if invalid, ok := errors.AsType[InvalidValueError](err); ok {
		return invalid
	}
	if err != nil {
		return &Error{Shape: "com.amazon.coral.service#SerializationException", Code: "SerializationException", Message: err.Error()}
	}
	return nil
}

// An aws-sdk-go-v2 client closes its connection when the response arrives before it
// has looked for the end of its own request body: smithy-go closes the body as
// soon as there are response headers, and net/http takes the EOF that it then reads
// for a failed write. Only an endpoint as near as loopback is fast enough to
// trigger that. What the client has buffered by then is still read. A longer
// response is cut off and retried, which for ReceiveMessage means that the messages
// stay hidden for their visibility timeout. So long responses are delayed a little.
const (
	unreadResponse = 3 << 10 // bytes; net/http's read buffer is 4 KiB, headers included
	responseDelay  = 100 * time.Microsecond
)

// WriteJSON writes out as an AWS JSON 1.0 response. An output that is a JSONAppender
// encodes itself. An error means that out could not be encoded, and that nothing was
// written.
func WriteJSON(w http.ResponseWriter, out any) error {
	var body []byte
	if a, ok := out.(JSONAppender); ok {
		buf := GetBuffer()
		defer PutBuffer(buf)
		*buf = a.AppendJSON((*buf)[:0])
		body = *buf
	} else {
		encoded, err := json.Marshal(out)
		if err != nil {
			return err //nolint:wrapcheck // becomes an InternalFailure
		}
		body = encoded
	}
	if len(body) > unreadResponse {
		time.Sleep(responseDelay)
	}
	w.Header()["Content-Type"] = jsonType
	_, _ = w.Write(body) // fails only if the client has disconnected
	return nil
}

var jsonType = []string{"application/x-amz-json-1.0"}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string to b and returns the result. Unlike
// encoding/json it does not escape HTML, so a message body in a response is as
// readable as in its request. Invalid UTF-8 becomes U+FFFD.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, s[start:i]...)
			b = append(b, "\ufffd"...)
			start = i + 1
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
