package sns

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// Limits of Publish and PublishBatch, in bytes, entries and characters; see
// https://docs.aws.amazon.com/sns/latest/api/API_Publish.html and …/API_PublishBatch.html
const (
	maxMessageBytes = 256 << 10
	maxBatchEntries = 10
	maxSubject      = 100
)

func (s *Service) publish(c *call, in *publishInput) (*publishOutput, error) {
	if in.PhoneNumber != "" {
		return nil, errInvalid("PhoneNumber Reason: the local endpoint sends no SMS")
	}
	arn := in.TopicArn
	if arn == "" {
		arn = in.TargetArn
	}
	e := &publishEntry{
		Subject: in.Subject, Message: in.Message, MessageStructure: in.MessageStructure,
		MessageAttributes: in.MessageAttributes, MessageGroupId: in.MessageGroupId, MessageDeduplicationId: in.MessageDeduplicationId,
	}
	subs, err := s.subscribers(c, arn)
	if err != nil {
		return nil, err
	}
	if err := checkEntry(e); err != nil {
		return nil, err
	}
	if entrySize(e) > maxMessageBytes {
		return nil, errInvalid("Message too long")
	}
	return &publishOutput{MessageId: s.deliver(c, arn, subs, e)}, nil
}

func (s *Service) publishBatch(c *call, in *publishBatchInput) (*publishBatchOutput, error) {
	subs, err := s.subscribers(c, in.TopicArn)
	if err != nil {
		return nil, err
	}
	if err := checkBatch(in.Entries); err != nil {
		return nil, err
	}
	out := &publishBatchOutput{}
	for i := range in.Entries {
		e := &in.Entries[i]
		if err := checkEntry(e); err != nil {
			awsErr := wire.AsError(err)
			out.Failed = append(out.Failed, failedEntry{Id: e.Id, Code: awsErr.Code, Message: awsErr.Message, SenderFault: true})
			continue
		}
		out.Successful = append(out.Successful, publishedEntry{Id: e.Id, MessageId: s.deliver(c, in.TopicArn, subs, e)})
	}
	return out, nil
}

// checkBatch checks number, ids and total size of a batch's entries. Its errors fail the
// whole request.
func checkBatch(entries []publishEntry) error {
	if len(entries) == 0 {
		return errCode("EmptyBatchRequest", "The batch request doesn't contain any entries.")
	}
	if len(entries) > maxBatchEntries {
		return errCode("TooManyEntriesInBatchRequest",
			"The batch request contains more entries than permissible: "+strconv.Itoa(len(entries))+".")
	}
	total := 0
	seen := make(map[string]bool, len(entries))
	for i := range entries {
		id := entries[i].Id
		ok := len(id) >= 1 && len(id) <= 80
		for _, c := range []byte(id) {
			ok = ok && (c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
		}
		if !ok {
			return errCode("InvalidBatchEntryId", "The Id of a batch entry in a batch request doesn't abide by the specification: "+id)
		}
		if seen[id] {
			return errCode("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id: "+id)
		}
		seen[id] = true
		total += entrySize(&entries[i])
	}
	if total > maxMessageBytes {
		return errCode("BatchRequestTooLong", "The length of all the batch messages put together is more than the limit.")
	}
	return nil
}

// entrySize returns the bytes that count against the size limit.
func entrySize(e *publishEntry) int {
	n := len(e.Message) + len(e.Subject)
	for name, a := range e.MessageAttributes {
		n += a.Size(name)
	}
	return n
}

// checkEntry validates an entry. If its structure is json, it replaces the message by the
// text for SQS.
func checkEntry(e *publishEntry) error {
	if e.Message == "" {
		return errInvalid("Empty message")
	}
	if !utf8.ValidString(e.Message) {
		return errInvalid("Message Reason: must be UTF-8")
	}
	if e.MessageDeduplicationId != "" {
		return errInvalid("MessageDeduplicationId Reason: the topic is not a FIFO topic")
	}
	if utf8.RuneCountInString(e.Subject) > maxSubject || strings.ContainsAny(e.Subject, "\r\n") {
		return errInvalid("Subject")
	}
	if e.MessageStructure != "" && e.MessageStructure != "json" {
		return errInvalid("MessageStructure")
	}
	if e.MessageStructure == "json" {
		text, err := sqsText(e.Message)
		if err != nil {
			return err
		}
		e.Message, e.MessageStructure = text, ""
	}
	for name, a := range e.MessageAttributes {
		if err := checkAttribute(name, a); err != nil {
			return err
		}
	}
	return nil
}

// sqsText returns the text for SQS of a message whose MessageStructure is json; see
// https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
func sqsText(message string) (string, error) {
	var byProtocol map[string]any
	if err := json.Unmarshal([]byte(message), &byProtocol); err != nil {
		return "", errInvalid("Message Structure - JSON message body failed to parse")
	}
	fallback, ok := byProtocol["default"].(string)
	if !ok {
		return "", errInvalid("Message Structure - No default entry in JSON message body")
	}
	if s, ok := byProtocol["sqs"].(string); ok {
		return s, nil
	}
	return fallback, nil
}

// checkAttribute validates a message attribute; see
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
func checkAttribute(name string, a wire.MessageAttribute) error {
	invalid := func(why string) error {
		return &wire.Error{Code: "ParameterValueInvalid", Message: "The message attribute '" + name + "' " + why}
	}
	kind, label, _ := strings.Cut(a.DataType, ".")
	switch {
	case name == "":
		return errInvalid("MessageAttributes Reason: empty name")
	case kind == "Binary" && len(a.BinaryValue) > 0:
		return nil
	case kind == "Binary", a.StringValue == "" && (kind == "String" || kind == "Number"):
		return invalid("must contain non-empty message attribute value.")
	case kind == "Number":
		if _, err := strconv.ParseFloat(a.StringValue, 64); err != nil {
			return &wire.Error{
				Code: "ParameterValueInvalid", Message: "Could not cast message attribute '" + name + "' value to number.",
			}
		}
		return nil
	case kind == "String":
		if label == "Array" && !json.Valid([]byte(a.StringValue)) {
			return invalid("has an invalid array.")
		}
		return nil
	}
	return invalid("has an invalid message attribute type.")
}

// subscribers returns the topic's subscriptions, which are durable: a message must not
// outlive the subscription that it was delivered for. The slice is immutable: a change
// replaces it.
func (s *Service) subscribers(c *call, arn string) ([]*subscription, error) {
	s.mu.RLock()
	t, err := s.topic(arn)
	var subs []*subscription
	if err == nil {
		subs = t.subs
	}
	s.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	return subs, s.log.WaitAll(c.ctx)
}

// deliver sends a message to the queues of all subscriptions whose filter it matches, and
// returns its id.
func (s *Service) deliver(c *call, arn string, subs []*subscription, e *publishEntry) string {
	id := uuid.NewString()
	now := time.Now()
	for _, sub := range subs {
		if f := sub.filter; f != nil {
			if sub.bodyScope && !f.MatchBody(e.Message) || !sub.bodyScope && !f.MatchAttributes(e.MessageAttributes) {
				continue
			}
		}
		body, attrs := e.Message, e.MessageAttributes
		if !sub.raw {
			body, attrs = string(s.envelope(c, id, arn, sub, e, now)), nil
		}
		err := s.queues.Enqueue(c.ctx, sub.Endpoint, body, attrs)
		if err != nil && sub.deadLetter != "" {
			dlqErr := s.queues.Enqueue(c.ctx, sub.deadLetter, body, attrs)
			if dlqErr == nil {
				err = nil
			} else {
				err = errors.Join(err, dlqErr)
			}
		}
		if err != nil {
			s.opt.Logger.Warn().Err(err).Str("subscription", sub.ARN).Str("endpoint", sub.Endpoint).
				Str("messageId", id).Msg("dropped an SNS message that could not be delivered")
		}
	}
	return id
}

// signature takes the place of AWS's signature; see the package comment.
const signature = "b3JkZXJzYWdhLWxvY2Fs"

type envelopeAttribute struct{ Type, Value string }

// envelope returns the JSON document of a delivery without raw delivery; see
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
func (s *Service) envelope(c *call, id, arn string, sub *subscription, e *publishEntry, now time.Time) []byte {
	b := make([]byte, 0, len(e.Message)+1024)
	member := func(name, value string) {
		b = append(b, `  "`...)
		b = append(b, name...)
		b = append(b, `" : `...)
		b = wire.AppendString(b, value)
		b = append(b, ",\n"...)
	}
	b = append(b, "{\n"...)
	member("Type", "Notification")
	member("MessageId", id)
	member("TopicArn", arn)
	if e.Subject != "" {
		member("Subject", e.Subject)
	}
	member("Message", e.Message)
	member("Timestamp", now.UTC().Format("2006-01-02T15:04:05.000Z"))
	member("SignatureVersion", "1")
	member("Signature", signature)
	member("SigningCertURL", c.base+"/_ordersaga/sns-certificate")
	member("UnsubscribeURL", c.base+"/?Action=Unsubscribe&Version="+Version+"&SubscriptionArn="+sub.ARN)
	if len(e.MessageAttributes) > 0 {
		attrs := make(map[string]envelopeAttribute, len(e.MessageAttributes))
		for name, a := range e.MessageAttributes {
			v := envelopeAttribute{Type: a.DataType, Value: a.StringValue}
			if a.Binary() {
				v.Value = base64.StdEncoding.EncodeToString(a.BinaryValue)
			}
			attrs[name] = v
		}
		list, _ := json.Marshal(attrs) //nolint:errchkjson // strings always marshal
		b = append(b, `  "MessageAttributes" : `...)
		b = append(b, list...)
		b = append(b, ",\n"...)
	}
	b = b[:len(b)-2]
	return append(b, "\n}"...)
}
