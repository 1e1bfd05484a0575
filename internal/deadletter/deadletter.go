// Package deadletter reads the dead-letter queues and puts letters back where
// they came from. SQS has no way to look at messages without receiving them:
// while a queue is read, others do not see what lies in it, for seconds.
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

// SQS is what is used of the SDK's client.
type SQS interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	DeleteMessage(context.Context, *sqs.DeleteMessageInput, ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
	ChangeMessageVisibilityBatch(context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
}

// ErrNotFound says that no letter has the id, or that somebody else is reading
// it right now.
var ErrNotFound = errors.New("no dead letter has this id, or it is being read by somebody else right now")

// ErrUnread says that there are more letters than could be read, and that the
// one that is looked for is not among those that were.
var ErrUnread = errors.New("there are more letters than can be read in the time")

// Letter is a message that could not be processed.
type Letter struct {
	ID     string    `json:"id"`
	Queue  string    `json:"queue"` // that it came from
	SentAt time.Time `json:"sentAt"`
	Reason string    `json:"reason,omitempty"`
	Body   string    `json:"body"`
	// Masking says that what is about people is left out: see Masked.
	Masking bool `json:"masked,omitempty" doc:"What is about people is left out of body and reason: payment tokens, addresses, the customer. Operators see it."`
}

// Pair is a queue with its dead-letter queue.
type Pair struct{ Name, URL, DeadURL string }

// hidden is for how long letters that are read are out of others' sight, should
// the reader die.
const hidden = 20 * time.Second

// scan receives each letter once and gives it to f, until f says stop or there
// are no more; if there are after some seconds, the error is ErrUnread. Letters
// that f does not keep are put back, also those that f was not given.
func (p Pair) scan(ctx context.Context, client SQS, f func(types.Message) (keep, stop bool, err error)) (err error) {
	var seen []types.Message
	defer func() {
		for part := range slices.Chunk(seen, 10) { // at most, SQS says
			err = errors.Join(err, p.show(context.WithoutCancel(ctx), client, part))
		}
	}()
	until := time.Now().Add(hidden / 2) // later the first ones would come again
	for time.Now().Before(until) {
		out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &p.DeadURL, MaxNumberOfMessages: 10, VisibilityTimeout: int32(hidden.Seconds()), WaitTimeSeconds: 1,
			MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameSentTimestamp, types.MessageSystemAttributeNameDeadLetterQueueSourceArn},
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
	return fmt.Errorf("%d letters of %s were read: %w", len(seen), p.Name, ErrUnread)
}

// show puts letters back into others' sight.
func (p Pair) show(ctx context.Context, client SQS, letters []types.Message) error {
	in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &p.DeadURL}
	for i, m := range letters {
		id := strconv.Itoa(i)
		in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: &id, ReceiptHandle: m.ReceiptHandle})
	}
	out, err := client.ChangeMessageVisibilityBatch(ctx, in)
	if err != nil {
		return fmt.Errorf("put dead letters of %s back: %w", p.Name, err)
	}
	for _, f := range out.Failed {
		i, _ := strconv.Atoi(aws.ToString(f.Id)) // our own
		err = errors.Join(err, fmt.Errorf("put dead letter %s back: %s", *letters[i].MessageId, aws.ToString(f.Message)))
	}
	return err
}

// List returns up to limit letters.
func (p Pair) List(ctx context.Context, client SQS, limit int) (letters []Letter, err error) {
	err = p.scan(ctx, client, func(m types.Message) (keep, stop bool, err error) {
		l := p.letter(m)
		if l.Reason == "" && m.Attributes[string(types.MessageSystemAttributeNameDeadLetterQueueSourceArn)] != "" {
			l.Reason = p.moved(ctx, client)
		}
		letters = append(letters, l)
		return false, len(letters) >= limit, nil
	})
	if errors.Is(err, ErrUnread) {
		err = nil // those that were are what was asked for
	}
	return letters, err
}

// moved is the reason of a letter that SQS has moved by itself: a message has no
// more to say then than that.
func (p Pair) moved(ctx context.Context, client SQS) string {
	var policy struct{ MaxReceiveCount json.Number }
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &p.URL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy}})
	if err == nil {
		// Some write the number as text, which a Number takes too.
		err = json.Unmarshal([]byte(out.Attributes[string(types.QueueAttributeNameRedrivePolicy)]), &policy)
	}
	times := policy.MaxReceiveCount.String() + " times"
	if err != nil {
		times = "as often as the queue allows"
	}
	return "received " + times + " without success, and moved here by SQS; the worker's log has each failure, under this id"
}

func (p Pair) letter(m types.Message) Letter {
	in, err := sqsconsumer.Content(m)
	if err != nil {
		in.Body = []byte(aws.ToString(m.Body))
	}
	ms, _ := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64) // 0 if an emulator does not say
	return Letter{
		ID: *m.MessageId, Queue: p.Name, SentAt: time.UnixMilli(ms).UTC(), Body: string(in.Body),
		Reason: aws.ToString(m.MessageAttributes[sqsconsumer.AttributeReason].StringValue),
	}
}

// Redrive puts a letter back into its queue, with another body if one is
// given, or ErrNotFound, or ErrUnread. Another body that states the event's type
// replaces the message's attributes that do.
func (p Pair) Redrive(ctx context.Context, client SQS, id string, body *string) error {
	return p.one(ctx, client, id, func(m types.Message) error {
		_, err := p.putBack(ctx, client, m, body)
		return err
	})
}

// Delete forgets a letter for good, or returns ErrNotFound, or ErrUnread.
func (p Pair) Delete(ctx context.Context, client SQS, id string) error {
	return p.one(ctx, client, id, func(m types.Message) error {
		_, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &p.DeadURL, ReceiptHandle: m.ReceiptHandle})
		if err != nil {
			return fmt.Errorf("delete letter %s of %s: %w", id, p.Name, err)
		}
		return nil
	})
}

// Forget deletes all letters that are such, and says how many, or ErrUnread: there
// may be more. Those that somebody else is reading right now are not seen.
func (p Pair) Forget(ctx context.Context, client SQS, such func(Letter) bool) (n int, err error) {
	err = p.scan(ctx, client, func(m types.Message) (keep, stop bool, err error) {
		if !such(p.letter(m)) {
			return false, false, nil
		}
		if _, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &p.DeadURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
			return false, true, fmt.Errorf("delete letter %s of %s: %w", *m.MessageId, p.Name, err)
		}
		n++
		return true, false, nil
	})
	return n, err
}

// one gives a letter to f, which takes it out of the dead-letter queue, unless
// it fails.
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
		err = fmt.Errorf("letter %s of %s: %w", id, p.Name, ErrNotFound)
	}
	return err
}

// RedriveAll puts all letters back that are there now, at most so many a
// second, and says how many.
func (p Pair) RedriveAll(ctx context.Context, client SQS, perSecond float64) (n int, err error) {
	pause := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
	defer pause.Stop()
	began, err := p.clock(ctx, client)
	if err != nil {
		return 0, err
	}
	sent := map[string]bool{}
	for more := true; more && err == nil; {
		more = false
		err = p.scan(ctx, client, func(m types.Message) (keep, stop bool, err error) {
			if came(m, sent) || !began.IsZero() && p.letter(m).SentAt.After(began) {
				return false, false, nil
			}
			more = true
			select {
			case <-ctx.Done():
				return false, true, ctx.Err()
			case <-pause.C:
			}
			id, err := p.putBack(ctx, client, m, nil)
			if err != nil {
				return false, true, err
			}
			sent[id] = true
			n++
			return true, false, nil
		})
		if errors.Is(err, ErrUnread) {
			err = nil // the next round reads on
		}
	}
	return n, err
}

// clock is when it is now by SQS's clock, which says when letters were sent, and
// which need not be ours: the last moment of the second that it tells. Zero if
// whoever answers does not tell.
func (p Pair) clock(ctx context.Context, client SQS) (time.Time, error) {
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &p.DeadURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages}})
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the time of dead letters of %s: %w", p.Name, err)
	}
	now, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok {
		return time.Time{}, nil
	}
	return now.Truncate(time.Second).Add(time.Second - time.Millisecond), nil
}

// came reports whether a letter is a message that was put back, by the ids that
// those had then: a consumer says it of what it buries, and what SQS moves keeps
// its id.
func came(m types.Message, sent map[string]bool) bool {
	return sent[aws.ToString(m.MessageId)] || sent[aws.ToString(m.MessageAttributes[sqsconsumer.AttributeOriginal].StringValue)]
}

// putBack sends a letter to its queue, and deletes it then: whatever happens in
// between, it is in one of them. Nobody who goes away comes in between.
// id is what the message has now.
func (p Pair) putBack(ctx context.Context, client SQS, m types.Message, body *string) (id string, err error) {
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
		return "", fmt.Errorf("put dead letter %s back into %s: %w", *m.MessageId, p.Name, err)
	}
	if _, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &p.DeadURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
		return "", fmt.Errorf("delete dead letter %s, which was put back: %w", *m.MessageId, err)
	}
	return aws.ToString(out.MessageId), nil
}

// Depth is a queue's load, as SQS estimates it.
type Depth struct{ Visible, InFlight int }

// Depths reads the loads of a queue and of its dead-letter queue.
func (p Pair) Depths(ctx context.Context, client SQS) (queue, dead Depth, err error) {
	queue, err1 := DepthOf(ctx, client, p.URL)
	dead, err2 := DepthOf(ctx, client, p.DeadURL)
	return queue, dead, errors.Join(err1, err2)
}

// DepthOf reads the load of the queue at a URL.
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
