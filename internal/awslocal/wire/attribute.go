package wire

import (
	"crypto/md5" //nolint:gosec // the protocol's checksum, not a signature
	"encoding/binary"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
)

// MessageAttribute is a message attribute of SQS and SNS, which share its format; see
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
type MessageAttribute struct {
	DataType    string `json:",omitempty"` // String, Number or Binary, perhaps with a label after a dot
	StringValue string `json:",omitempty"` // the value of String and Number
	BinaryValue []byte `json:",omitempty"` // the value of Binary
}

// Binary reports whether the attribute's value is BinaryValue: its type is Binary,
// perhaps with a custom label after a dot.
func (a MessageAttribute) Binary() bool {
	return a.DataType == "Binary" || strings.HasPrefix(a.DataType, "Binary.")
}

// Size returns the number of bytes that the attribute, under the given name, counts
// against the message size limit.
func (a MessageAttribute) Size(name string) int {
	return len(name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
}

// AttributesMD5 returns MD5OfMessageAttributes as AWS defines it: the digest of the
// name, type and value of each attribute, each prefixed by its length, sorted by name.
func AttributesMD5(attrs map[string]MessageAttribute) (sum [md5.Size]byte) {
	h := md5.New() //nolint:gosec // see the import
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		a := attrs[name]
		hashPart(h, name)
		hashPart(h, a.DataType)
		if a.Binary() {
			_, _ = h.Write([]byte{2})
			hashPart(h, string(a.BinaryValue))
		} else {
			_, _ = h.Write([]byte{1})
			hashPart(h, a.StringValue)
		}
	}
	h.Sum(sum[:0])
	return sum
}

func hashPart(h hash.Hash, s string) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(s)))
	_, _ = h.Write(n[:])
	_, _ = io.WriteString(h, s)
}
