package events

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// AttributeEncoding says that a worker had to pack the body of a dead letter,
// to make room for the reason. One that is put back like that is unpacked by
// whoever reads it.
const (
	AttributeEncoding = "ContentEncoding"
	GzipBase64        = "gzip+base64"
)

// maxMessage is SQS's limit, in bytes: no queue carried more.
const maxMessage = 1 << 20

// Compress is a body as GzipBase64.
func Compress(body string) (string, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, body); err != nil {
		return "", fmt.Errorf("pack message: %w", err)
	}
	if err := z.Close(); err != nil {
		return "", fmt.Errorf("pack message: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// Unpacked is the message with its body as the sender wrote it. It fails if the
// body is said to be packed and is not, which no repetition can mend.
func (m Message) Unpacked() (Message, error) {
	if m.Attributes[AttributeEncoding] != GzipBase64 {
		return m, nil
	}
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(string(m.Body))))
	if err != nil {
		return m, fmt.Errorf("body: is not %s: %w", GzipBase64, err)
	}
	b, err := io.ReadAll(io.LimitReader(z, maxMessage+1))
	switch {
	case err != nil:
		return m, fmt.Errorf("body: is not %s: %w", GzipBase64, err)
	case len(b) > maxMessage:
		return m, fmt.Errorf("body: unpacks to more than %d bytes", maxMessage)
	}
	m.Body = b
	return m, nil
}
