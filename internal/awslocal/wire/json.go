package wire

import (
	"encoding/json"
	"net/http"
	"unicode/utf8"
)

// JSONAppender is an output that encodes itself, where reflection would cost.
type JSONAppender interface {
	AppendJSON(b []byte) []byte
}

// DecodeJSON reads an AWS JSON body into the struct that dst points to.
func DecodeJSON(body []byte, dst any) error {
	if len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, dst); err != nil {
		return &Error{Shape: "com.amazon.coral.service#SerializationException", Code: "SerializationException", Message: err.Error()}
	}
	return nil
}

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
