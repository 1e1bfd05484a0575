package sqs

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

func (s *Service) sendMessage(_ *call, in *sendInput) (*sendOutput, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	m, delay, err := newMessageFrom(q, &sendEntry{
		MessageBody: in.MessageBody, DelaySeconds: in.DelaySeconds,
		MessageAttributes: in.MessageAttributes, MessageSystemAttributes: in.MessageSystemAttributes,
		MessageGroupId: in.MessageGroupId, MessageDeduplicationId: in.MessageDeduplicationId,
	})
	if err != nil {
		return nil, err
	}
	if err := s.send(q, delay, m); err != nil {
		return nil, err
	}
	out := &sendOutput{MessageId: m.id.String(), MD5OfMessageBody: hex.EncodeToString(m.bodyMD5[:])}
	if len(m.attrs) > 0 {
		out.MD5OfMessageAttributes = hex.EncodeToString(m.attrsMD5[:])
	}
	return out, nil
}

func (s *Service) sendBatch(_ *call, in *sendBatchInput) (*sendBatchOutput, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if err := checkBatch(len(in.Entries), func(i int) string { return in.Entries[i].Id }); err != nil {
		return nil, err
	}
	total := 0
	for i := range in.Entries {
		total += messageSize(in.Entries[i].MessageBody, in.Entries[i].MessageAttributes)
	}
	if total > maxMessageBytes {
		return nil, errLegacy("BatchRequestTooLong", fmt.Sprintf(
			"Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxMessageBytes, total))
	}
	out := &sendBatchOutput{Successful: make([]sendEntryOutput, 0, len(in.Entries))}
	for i := range in.Entries {
		e := &in.Entries[i]
		m, delay, err := newMessageFrom(q, e)
		if err != nil {
			out.Failed = append(out.Failed, failed(e.Id, err))
			continue
		}
		if err := s.send(q, delay, m); err != nil {
			return nil, err
		}
		r := sendEntryOutput{Id: e.Id, MessageId: m.id.String(), MD5OfMessageBody: hex.EncodeToString(m.bodyMD5[:])}
		if len(m.attrs) > 0 {
			r.MD5OfMessageAttributes = hex.EncodeToString(m.attrsMD5[:])
		}
		out.Successful = append(out.Successful, r)
	}
	return out, nil
}

// newMessageFrom validates an entry and returns its message and delay.
func newMessageFrom(q *queue, e *sendEntry) (*message, time.Duration, error) {
	if e.MessageBody == "" {
		return nil, 0, errMissing("MessageBody")
	}
	if e.MessageDeduplicationId != "" {
		return nil, 0, errInvalidValue(e.MessageDeduplicationId, "MessageDeduplicationId",
			"The request includes a parameter that is not valid for this queue type.")
	}
	set := q.settings.Load()
	delay := set.delay
	if d := e.DelaySeconds; d != nil {
		if *d < 0 || *d > maxDelay {
			return nil, 0, errInvalidValue(*d, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
		}
		delay = time.Duration(*d) * time.Second
	}
	if err := checkAttributes(e.MessageAttributes); err != nil {
		return nil, 0, err
	}
	if err := checkSize(q, messageSize(e.MessageBody, e.MessageAttributes)); err != nil {
		return nil, 0, err
	}
	if !validText(e.MessageBody) {
		return nil, 0, errInvalidContents("The message contains characters outside the allowed set.")
	}
	m := newMessage(e.MessageBody, e.MessageAttributes)
	m.group = e.MessageGroupId
	for name, a := range e.MessageSystemAttributes {
		if name != "AWSTraceHeader" || a.DataType != "String" {
			return nil, 0, errInvalidValue(name, "MessageSystemAttributes", "Only AWSTraceHeader of type String is supported.")
		}
		m.trace = a.StringValue
	}
	return m, delay, nil
}

func errInvalidContents(message string) *wire.Error {
	return &wire.Error{Shape: shape + "InvalidMessageContents", Code: "InvalidMessageContents", Message: message}
}

// checkSize checks a message's size, in bytes, against the queue's MaximumMessageSize.
func checkSize(q *queue, size int) error {
	if limit := q.settings.Load().maxSize; size > limit {
		return &wire.Error{
			Shape: coral + "InvalidParameterValueException", Code: "InvalidParameterValue",
			Message: "One or more parameters are invalid. Reason: Message must be shorter than " + strconv.Itoa(limit) + " bytes.",
		}
	}
	return nil
}

// messageSize returns the bytes that count against the size limit: body and attributes.
func messageSize(body string, attrs messageAttributes) int {
	n := len(body)
	for name, a := range attrs {
		n += a.Size(name)
	}
	return n
}

// checkAttributes checks message attributes against
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
func checkAttributes(attrs messageAttributes) error {
	if len(attrs) > maxAttributes {
		return errInvalidValue(len(attrs), "MessageAttributes", "Number of message attributes exceeds the allowed maximum 10.")
	}
	for name, a := range attrs {
		if !validAttributeName(name) {
			return errInvalidValue(name, "MessageAttributes", "The message attribute name is not valid.")
		}
		kind, _, _ := strings.Cut(a.DataType, ".")
		switch kind {
		case "String", "Number":
			if a.StringValue == "" {
				return errInvalidValue(name, "MessageAttributes", "The message attribute must contain a non-empty attribute value.")
			}
			if !validText(a.StringValue) {
				return errInvalidContents("The message attribute " + name + " contains characters outside the allowed set.")
			}
			if kind == "Number" {
				if _, err := strconv.ParseFloat(a.StringValue, 64); err != nil {
					return errInvalidValue(a.StringValue, "MessageAttributes", "The message attribute "+name+" is not a number.")
				}
			}
		case "Binary":
			if len(a.BinaryValue) == 0 {
				return errInvalidValue(name, "MessageAttributes", "The message attribute must contain a non-empty attribute value.")
			}
		default:
			return errInvalidValue(name, "MessageAttributes",
				"The message attribute must have a type that is String, Number or Binary, perhaps with a custom label.")
		}
	}
	return nil
}

func validAttributeName(name string) bool {
	ok := len(name) >= 1 && len(name) <= 256 && name[0] != '.' && name[len(name)-1] != '.' && !strings.Contains(name, "..")
	for _, c := range []byte(name) {
		ok = ok && (c == '-' || c == '_' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	lower := strings.ToLower(name)
	return ok && !strings.HasPrefix(lower, "aws.") && !strings.HasPrefix(lower, "amazon.")
}

// validText reports whether SQS accepts the text: it may hold the characters of XML 1.0;
// see
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func validText(s string) bool {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r == 0xFFFE || r == 0xFFFF {
			return false
		}
		i += size
	}
	return true
}

// checkBatch checks the number and the ids of a batch's entries. Its errors fail the
// whole request.
func checkBatch(n int, id func(int) string) error {
	if n == 0 {
		return errLegacy("EmptyBatchRequest", "There should be at least one entry in the request.")
	}
	if n > maxBatchEntries {
		return errLegacy("TooManyEntriesInBatchRequest", fmt.Sprintf("Maximum number of entries per request are 10. You have sent %d.", n))
	}
	for i := range n {
		if x := id(i); len(x) > 80 || strings.ContainsRune(x, '.') || !validAttributeName(x) {
			return errLegacy("InvalidBatchEntryId",
				"A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
		for j := range i {
			if id(i) == id(j) {
				return errLegacy("BatchEntryIdsNotDistinct", "Id "+id(i)+" repeated.")
			}
		}
	}
	return nil
}

// failed returns the result of a batch entry that failed with err.
func failed(id string, err error) failedEntry {
	e := wire.AsError(err)
	return failedEntry{Id: id, Code: e.Code, Message: e.Message, SenderFault: !e.Server}
}
