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

// JSONAppender is an output that encodes itself, where reflection would cost.
type JSONAppender interface {
	AppendJSON(b []byte) []byte
}

// Invalid is an error of a value's own decoding that DecodeJSON passes on: the
// JSON is right and the value is not.
type Invalid interface {
	error
	InvalidValue()
}

// DecodeJSON reads an AWS JSON body into the struct that dst points to.
func DecodeJSON(body []byte, dst any) error {
	if len(body) == 0 {
		return nil
	}
	return asAWS(json.Unmarshal(body, dst))
}

// UnknownFieldError names a field of a body that the struct for it has not.
type UnknownFieldError struct{ Name string }

func (e *UnknownFieldError) Error() string { return "unknown field " + e.Name }

// DecodeKnownJSON is DecodeJSON that refuses fields which the struct has not.
func DecodeKnownJSON(body []byte, dst any) error {
	if len(body) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(dst)
	if err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return &UnknownFieldError{strings.Trim(name, `"`)}
		}
	} else if _, more := d.Token(); !errors.Is(more, io.EOF) {
		err = errors.New("the body goes on behind its end")
	}
	return asAWS(err)
}

func asAWS(err error) error {
	if invalid, ok := errors.AsType[Invalid](err); ok {
		return invalid
	}
	if err != nil {
		return &Error{Shape: "com.amazon.coral.service#SerializationException", Code: "SerializationException", Message: err.Error()}
	}
	return nil
}

// An aws-sdk-go-v2 client closes its connection when the answer comes before it
// has looked for the end of its own request body: smithy-go closes the body as
// soon as there are response headers, and net/http takes the EOF it then reads
// for a failed write. Only an endpoint as near as loopback is fast enough to
// hit that. What the client has buffered by then is still read; a longer answer
// is cut off, and retried, which for ReceiveMessage means that the messages
// stay hidden for their visibility timeout. So long answers wait a moment.
const (
	unreadResponse = 3 << 10 // net/http's read buffer is 4 KiB, headers included
	settleTime     = 100 * time.Microsecond
)

// WriteJSON answers an AWS JSON 1.0 request.
func WriteJSON(w http.ResponseWriter, out any) error {
	var body []byte
	if a, ok := out.(JSONAppender); ok {
		buf := GetBuffer()
		defer PutBuffer(buf)
		*buf = a.AppendJSON((*buf)[:0])
		body = *buf
	} else {
		var err error
		if body, err = json.Marshal(out); err != nil {
			return err //nolint:wrapcheck // becomes an InternalFailure
		}
	}
	if len(body) > unreadResponse {
		time.Sleep(settleTime)
	}
	w.Header()["Content-Type"] = jsonType
	_, _ = w.Write(body) // the client may be gone; nobody is left to tell
	return nil
}

var jsonType = []string{"application/x-amz-json-1.0"}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Unlike encoding/json it does not
// escape HTML: bodies come back byte for byte as readable as they went in.
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
