package events

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// AttributeEncoding is the message attribute with the encoding of a body, and GzipBase64
// its only value. A worker compresses the body of a dead letter that would otherwise have no
// room for the reason. Consumers decompress such a message after a redrive.
const (
	AttributeEncoding = "ContentEncoding"
	GzipBase64        = "gzip+base64"
)

// maxMessage is the maximum size of an SQS message, in bytes. A larger body was in no queue:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
const maxMessage = 1 << 20

// Compress returns body in the encoding GzipBase64.
func Compress(body string) (string, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, body); err != nil {
		return "", fmt.Errorf("compress message: %w", err)
	}
	if err := z.Close(); err != nil {
		return "", fmt.Errorf("compress message: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// Unpacked returns the message with its body as the sender wrote it. A message without
// AttributeEncoding is returned unchanged. It returns an error if the attribute is GzipBase64
// and the body has another encoding, or has more than 1 MiB when decompressed. That error is
// permanent: a retry fails in the same way.
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
		return m, fmt.Errorf("body: decompresses to more than %d bytes", maxMessage)
	}
	m.Body = b
	return m, nil
}
