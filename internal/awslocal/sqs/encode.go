package sqs

import (
	"encoding/base64"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// AppendJSON encodes the output without reflection, because it is on the hot path.
func (o *receiveOutput) AppendJSON(b []byte) []byte {
	if len(o.Messages) == 0 {
		return append(b, "{}"...)
	}
	b = append(b, `{"Messages":[`...)
	for i := range o.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = o.Messages[i].appendJSON(b)
	}
	return append(b, "]}"...)
}

// appendJSON encodes one received message.
func (r *received) appendJSON(b []byte) []byte {
	member := func(name, value string) {
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, `":`...)
		b = wire.AppendString(b, value)
	}
	b = append(b, '{')
	member("MessageId", r.MessageId)
	b = append(b, ',')
	member("ReceiptHandle", r.ReceiptHandle)
	b = append(b, ',')
	member("MD5OfBody", r.MD5OfBody)
	b = append(b, ',')
	member("Body", r.Body)
	if len(r.Attributes) > 0 {
		b = append(b, `,"Attributes":{`...)
		for name, value := range r.Attributes {
			member(name, value)
			b = append(b, ',')
		}
		b[len(b)-1] = '}'
	}
	if len(r.MessageAttributes) > 0 {
		b = append(b, ',')
		member("MD5OfMessageAttributes", r.MD5OfMessageAttributes)
		b = append(b, `,"MessageAttributes":{`...)
		for name, a := range r.MessageAttributes {
			b = wire.AppendString(b, name)
			b = append(b, ":{"...)
			member("DataType", a.DataType)
			b = append(b, ',')
			if a.Binary() {
				b = append(b, `"BinaryValue":"`...)
				b = base64.StdEncoding.AppendEncode(b, a.BinaryValue)
				b = append(b, '"')
			} else {
				member("StringValue", a.StringValue)
			}
			b = append(b, "},"...)
		}
		b[len(b)-1] = '}'
	}
	return append(b, '}')
}

// AppendJSON encodes the output without reflection, because it is on the hot path.
func (o *sendOutput) AppendJSON(b []byte) []byte {
	b = append(b, `{"MessageId":"`...)
	b = append(b, o.MessageId...)
	b = append(b, `","MD5OfMessageBody":"`...)
	b = append(b, o.MD5OfMessageBody...)
	if o.MD5OfMessageAttributes != "" {
		b = append(b, `","MD5OfMessageAttributes":"`...)
		b = append(b, o.MD5OfMessageAttributes...)
	}
	return append(b, `"}`...)
}
