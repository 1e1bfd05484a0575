// Package deadletter lists, redrives and deletes the messages of dead-letter queues. SQS has no
// way to read a message without receiving it. While one client reads a queue, its messages
// are invisible to others for some seconds.
package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
)

// SQS is the part of *sqs.Client that this package needs.
type SQS interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	DeleteMessage(context.Context, *sqs.DeleteMessageInput, ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
	ChangeMessageVisibilityBatch(
		context.Context,
		*sqs.ChangeMessageVisibilityBatchInput,
		...func(*sqs.Options),
	) (*sqs.ChangeMessageVisibilityBatchOutput, error)
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
}

// ErrNotFound is the error if no dead letter has the id, or if another client is reading it.
var ErrNotFound = errors.New("no dead letter has this id, or another client is reading it; retry in 20 s")

// ErrUnread is the error if there are more dead letters than could be read in the time, and
// none of those that were read is the right one.
var ErrUnread = errors.New("the queue has more dead letters than can be read in 10 s; retry")

// Message is a dead letter: a message that could not be processed.
type Message struct {
	ID     string    `json:"id" doc:"Id of the dead letter."`
	Queue  string    `json:"queue" doc:"Source queue of the message."`
	SentAt time.Time `json:"sentAt" doc:"When it was sent, as SQS has it, RFC 3339."`
	Reason string    `json:"reason,omitempty" doc:"Why it could not be processed. Absent if it is not known."`
	Body   string    `json:"body" doc:"Body of the message."`
	// Masking is true if personal data is removed: see Masked.
	Masking bool `json:"masked,omitempty" doc:"Whether personal data is removed from body and reason. Operators see it."`
}

// Pair addresses a source queue and its dead-letter queue.
type Pair struct{ Name, URL, DeadURL string }

// hidden is the visibility timeout of messages that are read: how long they stay invisible if
// the reader crashes.
const hidden = 20 * time.Second

// scan receives each message of the dead-letter queue once and passes it to f, until f returns
// stop or an error, or there are no more. If there still are after 10 s, the error is
// ErrUnread. It makes all messages visible again that f does not keep.
func (p Pair) scan(ctx context.Context, client SQS, f func(types.Message) (keep, stop bool, err error)) (err error) {
	var seen []types.Message
	defer func() {
		for part := range slices.Chunk(seen, 10) { // the maximum of a batch in SQS
			err = errors.Join(err, p.show(context.WithoutCancel(ctx), client, part))
		}
	}()
	until := time.Now().Add(hidden / 2) // later, SQS would deliver the first ones again
	for time.Now().Before(until) {
		out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &p.DeadURL, MaxNumberOfMessages: 10, VisibilityTimeout: int32(hidden.Seconds()), WaitTimeSeconds: 1,
			MessageAttributeNames: []string{
				"All",
			}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{
				types.MessageSystemAttributeNameSentTimestamp,
				types.MessageSystemAttributeNameDeadLetterQueueSourceArn,
			},
		})
		if err != nil {
			return fmt.Errorf("read dead letters of %s: %w", p.Name, err)
		}
		if len(out.Messages) == 0 {
			return nil
		}
		for i, m := range out.Messages {
			keep, stop, err := f(m)
			if !keep {
				seen = append(seen, m)
			}
			if stop || err != nil {
				seen = append(seen, out.Messages[i+1:]...)
				return err
			}
		}
	}
	return fmt.Errorf("read %d dead letters of %s: %w", len(seen), p.Name, ErrUnread)
}

// show makes messages visible again.
func (p Pair) show(ctx context.Context, client SQS, messages []types.Message) error {
	in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &p.DeadURL}
	for i, m := range messages {
		id := strconv.Itoa(i)
		in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: &id, ReceiptHandle: m.ReceiptHandle})
	}
	out, err := client.ChangeMessageVisibilityBatch(ctx, in)
	if err != nil {
		return fmt.Errorf("make dead letters of %s visible again: %w", p.Name, err)
	}
	for _, f := range out.Failed {
		i, _ := strconv.Atoi(aws.ToString(f.Id)) // an id from above
		err = errors.Join(err, fmt.Errorf("make dead letter %s visible again: %s", *messages[i].MessageId, aws.ToString(f.Message)))
	}
	return err
}

// List returns up to limit dead letters, in no particular order.
func (p Pair) List(ctx context.Context, client SQS, limit int) (messages []Message, err error) {
	err = p.scan(ctx, client, func(m types.Message) (keep, stop bool, err error) {
		l := p.message(m)
		if l.Reason == "" && m.Attributes[string(types.MessageSystemAttributeNameDeadLetterQueueSourceArn)] != "" {
			l.Reason = p.moved(ctx, client)
		}
		messages = append(messages, l)
		return false, len(messages) >= limit, nil
	})
	if errors.Is(err, ErrUnread) {
		err = nil // a part of them is a valid result
	}
	return messages, err
}

// moved returns the reason of a message that SQS itself has moved: such a message has none.
func (p Pair) moved(ctx context.Context, client SQS) string {
	var policy struct{ MaxReceiveCount json.Number }
	out, err := client.GetQueueAttributes(
		ctx,
		&sqs.GetQueueAttributesInput{QueueUrl: &p.URL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy}},
	)
	if err == nil {
		// Some emulators encode the number as a string, which a Number accepts too.
		err = json.Unmarshal([]byte(out.Attributes[string(types.QueueAttributeNameRedrivePolicy)]), &policy)
	}
	times := policy.MaxReceiveCount.String() + " times"
	if err != nil {
		times = "as often as the queue allows"
	}
	return "received " + times + " without success, then moved here by SQS; the worker's log has each failure under this id"
}

// message converts a received message.
func (p Pair) message(m types.Message) Message {
	in, err := sqsconsumer.Content(m)
	if err != nil {
		in.Body = []byte(aws.ToString(m.Body))
	}
	ms, _ := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64) // 0 if an emulator has no timestamp
	return Message{
		ID: *m.MessageId, Queue: p.Name, SentAt: time.UnixMilli(ms).UTC(), Body: string(in.Body),
		Reason: aws.ToString(m.MessageAttributes[sqsconsumer.AttributeReason].StringValue),
	}
}

// Redrive sends a dead letter back to its source queue. body replaces its body, unless it is
// nil. If the new body states the event's type, the message's attributes that state it are
// removed. The error may be ErrNotFound or ErrUnread.
func (p Pair) Redrive(ctx context.Context, client SQS, id string, body *string) error {
	return p.one(ctx, client, id, func(m types.Message) error {
		_, err := p.redrive(ctx, client, m, body)
		return err
	})
}

// Delete deletes a dead letter permanently. The error may be ErrNotFound or ErrUnread.
func (p Pair) Delete(ctx context.Context, client SQS, id string) error {
	return p.one(ctx, client, id, func(m types.Message) error {
		_, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &p.DeadURL, ReceiptHandle: m.ReceiptHandle})
		if err != nil {
			return fmt.Errorf("delete dead letter %s of %s: %w", id, p.Name, err)
		}
		return nil
	})
}

// Forget deletes all dead letters that match, and returns how many. With ErrUnread there may be
// more. It does not see those that another client is reading.
func (p Pair) Forget(ctx context.Context, client SQS, matches func(Message) bool) (n int, err error) {
	err = p.scan(ctx, client, func(m types.Message) (keep, stop bool, err error) {
		if !matches(p.message(m)) {
			return false, false, nil
		}
		if _, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &p.DeadURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
			return false, true, fmt.Errorf("delete dead letter %s of %s: %w", *m.MessageId, p.Name, err)
		}
		n++
		return true, false, nil
	})
	return n, err
}

// one passes one dead letter to f, which removes it from the dead-letter queue unless it
// returns an error.
func (p Pair) one(ctx context.Context, client SQS, id string, f func(types.Message) error) error {
	found := false
	err := p.scan(ctx, client, func(m types.Message) (keep, stop bool, err error) {
		if *m.MessageId != id {
			return false, false, nil
		}
		found = true
		err = f(m)
		return err == nil, true, err
	})
	if err == nil && !found {
		err = fmt.Errorf("dead letter %s of %s: %w", id, p.Name, ErrNotFound)
	}
	return err
}

// RedriveAll sends all present dead letters back to their source queue, at a limited rate, and
// returns how many. It does not redrive messages that are dead-lettered meanwhile.
func (p Pair) RedriveAll(ctx context.Context, client SQS, perSecond float64) (n int, err error) {
	pause := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
	defer pause.Stop()
	start, err := p.clock(ctx, client)
	if err != nil {
		return 0, err
	}
	sent := map[string]bool{}
	for more := true; more && err == nil; {
		more = false
		err = p.scan(ctx, client, func(m types.Message) (keep, stop bool, err error) {
			if wasRedriven(m, sent) || !start.IsZero() && p.message(m).SentAt.After(start) {
				return false, false, nil
			}
			more = true
			select {
			case <-ctx.Done():
				return false, true, ctx.Err()
			case <-pause.C:
			}
			id, err := p.redrive(ctx, client, m, nil)
			if err != nil {
				return false, true, err
			}
			sent[id] = true
			n++
			return true, false, nil
		})
		if errors.Is(err, ErrUnread) {
			err = nil // the next round continues
		}
	}
	return n, err
}

// clock returns the current time by SQS's clock, which timestamps messages and may differ from
// this machine's: the last millisecond of its current second. It returns the zero time if the
// response has none.
func (p Pair) clock(ctx context.Context, client SQS) (time.Time, error) {
	out, err := client.GetQueueAttributes(
		ctx,
		&sqs.GetQueueAttributesInput{
			QueueUrl:       &p.DeadURL,
			AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages},
		},
	)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the clock of the dead-letter queue of %s: %w", p.Name, err)
	}
	now, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok {
		return time.Time{}, nil
	}
	return now.Truncate(time.Second).Add(time.Second - time.Millisecond), nil
}

// wasRedriven reports whether a dead letter is a message with one of the ids in sent. A consumer
// records the original id of a message that it dead-messages; SQS keeps the id of one that it
// moves.
func wasRedriven(m types.Message, sent map[string]bool) bool {
	return sent[aws.ToString(m.MessageId)] || sent[aws.ToString(m.MessageAttributes[sqsconsumer.AttributeOriginal].StringValue)]
}

// redrive sends a message to the source queue and then deletes it from the dead-letter queue:
// after a crash in between it is in both. A client that disconnects does not interrupt it. It
// returns the message's new id.
func (p Pair) redrive(ctx context.Context, client SQS, m types.Message, body *string) (id string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	attrs := m.MessageAttributes
	delete(attrs, sqsconsumer.AttributeReason)
	delete(attrs, sqsconsumer.AttributeOriginal)
	if body != nil {
		delete(attrs, sqsconsumer.AttributeEncoding)
		if events.HasType([]byte(*body)) {
			maps.DeleteFunc(attrs, func(name string, _ types.MessageAttributeValue) bool { return events.IsTypeAttribute(name) })
		}
	} else {
		body = m.Body
	}
	if len(attrs) == 0 {
		attrs = nil
	}
	out, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &p.URL, MessageBody: body, MessageAttributes: attrs})
	if err != nil {
		return "", fmt.Errorf("redrive dead letter %s to %s: %w", *m.MessageId, p.Name, err)
	}
	if _, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &p.DeadURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
		return "", fmt.Errorf("delete dead letter %s after its redrive: %w", *m.MessageId, err)
	}
	return aws.ToString(out.MessageId), nil
}

// Depth is the approximate number of messages in a queue, as SQS reports it.
type Depth struct{ Visible, InFlight int }

// Depths returns the depths of the source queue and of the dead-letter queue.
func (p Pair) Depths(ctx context.Context, client SQS) (queue, dead Depth, err error) {
	queue, err1 := DepthOf(ctx, client, p.URL)
	dead, err2 := DepthOf(ctx, client, p.DeadURL)
	return queue, dead, errors.Join(err1, err2)
}

// DepthOf returns the depth of the queue with a URL.
func DepthOf(ctx context.Context, client SQS, url string) (d Depth, err error) {
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	}})
	if err != nil {
		return d, fmt.Errorf("read depth of %s: %w", url, err)
	}
	d.Visible, _ = strconv.Atoi(out.Attributes[string(types.QueueAttributeNameApproximateNumberOfMessages)])
	d.InFlight, _ = strconv.Atoi(out.Attributes[string(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)])
	return d, nil
}
