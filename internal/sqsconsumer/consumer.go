// Package sqsconsumer consumes SQS queues. A message is deleted only when its handler
// has returned, which it does when its effects are durable. A message that fails is
// retried with a back-off. A poison message, which can never succeed, goes to the
// dead-letter queue at once, with the reason.
package sqsconsumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/internal/backoff"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/text"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// SQS has the methods of *sqs.Client that a consumer uses.
type SQS interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	DeleteMessageBatch(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
	ChangeMessageVisibility(
		context.Context, *sqs.ChangeMessageVisibilityInput, ...func(*sqs.Options),
	) (*sqs.ChangeMessageVisibilityOutput, error)
	ChangeMessageVisibilityBatch(
		context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options),
	) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

// PermanentError marks a poison message: no retry can succeed, so it goes to the
// dead-letter queue.
type PermanentError struct {
	// Reason is recorded with the dead letter. It must not be nil.
	Reason error
}

// Error returns the reason's text, cut to text.Max characters: it may quote the message.
func (p *PermanentError) Error() string { return text.Cut(p.Reason.Error(), text.Max) }

// Unwrap returns the reason.
func (p *PermanentError) Unwrap() error { return p.Reason }

// Options configure a Consumer. SQS, QueueURL, DLQURL and Handle are required.
type Options struct {
	// SQS is the client; it must be safe for concurrent use.
	SQS SQS
	// QueueURL is the queue to consume.
	QueueURL string
	// DLQURL is the queue for poison messages.
	DLQURL string
	// Handle handles a message. It returns nil when its effects are durable, a
	// *PermanentError if the message is poison, or another error to be retried later.
	// It is called concurrently, and must be safe to run twice for the same message.
	Handle func(ctx context.Context, m events.Message) error
	// Capacity returns how many more messages may be received; nil means any number.
	// At or below 0, messages stay in the queue, where other workers can receive them.
	Capacity func(ctx context.Context) int
	// Probe reports, after a message has failed, whether messages can be handled; nil
	// disables it. While it fails, none are received: each receive brings a message
	// closer to SQS's own redrive to the dead-letter queue, which records no reason.
	Probe func(ctx context.Context) error
	// ProbeEvery is the pause after a Probe that failed; 0 means 5 s.
	ProbeEvery time.Duration
	// Logger receives the consumer's log. The zero value discards it.
	Logger zerolog.Logger
	// Receivers is how many long polls run concurrently; 0 means 2.
	Receivers int
	// Visibility is the visibility timeout of a received message. It is extended while
	// the message is handled. 0 means 30 s.
	Visibility time.Duration
	// Drain limits how long received messages may take when Run's context ends; SQS
	// delivers the rest again. 0 means 10 s.
	Drain time.Duration
	// Observe receives every message's outcome ("done", "poison", "retry"); nil
	// disables it. It is called concurrently.
	Observe func(outcome string)
	// Lag receives the age of the oldest message of each receive, and zero when there
	// was none; nil disables it. It is called concurrently.
	Lag func(time.Duration)
}

const (
	// maxDenials is how often the first receives may be denied: a new permission takes
	// a while to take effect everywhere in AWS.
	maxDenials = 3
	// maxReceive is SQS's limit of messages per receive:
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
	maxReceive = 10
)

// Consumer consumes one queue. New makes one.
type Consumer struct {
	o Options
	// hasReceived is set after the first receive that succeeded: a later denial is
	// retried, because the permission may come back.
	hasReceived atomic.Bool
	// probeNeeded is set when a message could not be handled.
	probeNeeded atomic.Bool

	mu      sync.Mutex
	claimed int // capacity that receives in progress and messages being handled use
}

// New returns a consumer; Run starts it.
func New(o Options) *Consumer {
	if o.Receivers == 0 {
		o.Receivers = 2
	}
	if o.ProbeEvery == 0 {
		o.ProbeEvery = 5 * time.Second
	}
	if o.Visibility == 0 {
		o.Visibility = 30 * time.Second
	}
	if o.Drain == 0 {
		o.Drain = 10 * time.Second
	}
	if o.Observe == nil {
		o.Observe = func(string) {}
	}
	if o.Lag == nil {
		o.Lag = func(time.Duration) {}
	}
	if o.Capacity == nil {
		o.Capacity = func(context.Context) int { return math.MaxInt }
	}
	if o.Probe == nil {
		o.Probe = func(context.Context) error { return nil }
	}
	return &Consumer{o: o}
}

// Run receives and handles messages until ctx ends, then finishes what it has
// received and returns nil. It returns an error if it has no permission to receive
// from the beginning; a permission that is withdrawn later may come back.
func (c *Consumer) Run(ctx context.Context) error {
	// Received messages are finished even when ctx ends: a worker that stops leaves
	// nothing half done, if it can.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(c.o.Drain, cancel) })()
	receivers, ctx := errgroup.WithContext(ctx)
	for range c.o.Receivers {
		receivers.Go(func() error { return c.receive(ctx, work) })
	}
	return receivers.Wait()
}

func (c *Consumer) receive(ctx, work context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		if !c.healthy(ctx) {
			continue
		}
		claimed := c.claimCapacity(ctx)
		if claimed == 0 {
			_ = backoff.Sleep(ctx, 20*time.Millisecond)
			continue
		}
		out, err := c.o.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &c.o.QueueURL, MaxNumberOfMessages: int32(claimed), WaitTimeSeconds: 20,
			VisibilityTimeout: int32(c.o.Visibility.Seconds()),
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{
				types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameSentTimestamp,
			},
			MessageAttributeNames: []string{"All"}, // some have the type, and a dead letter keeps all
		})
		if err != nil {
			c.releaseCapacity(claimed)
			failures++
			if failures == maxDenials && cloud.IsAccessDenied(err) && !c.hasReceived.Load() {
				return fmt.Errorf("receive from queue %s: %w", c.o.QueueURL, err)
			}
			if ctx.Err() == nil { // else it was cut off
				delay := rand.N(min(time.Second<<min(failures, 5), 15*time.Second)) //nolint:gosec // jitter needs no secrecy
				c.o.Logger.Error().Err(err).Str("queue", c.o.QueueURL).Dur("again_in", delay).Msg("cannot receive messages")
				_ = backoff.Sleep(ctx, delay)
			}
			continue
		}
		failures = 0
		c.hasReceived.Store(true)
		c.o.Lag(oldestAge(out.Messages))
		if len(out.Messages) > 0 {
			c.handleBatch(work, out.Messages)
		}
		c.releaseCapacity(claimed)
	}
	return nil
}

// claimCapacity reserves the capacity of one receive: at most maxReceive messages.
func (c *Consumer) claimCapacity(ctx context.Context) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := max(min(c.o.Capacity(ctx)-c.claimed, maxReceive), 0)
	c.claimed += n
	return n
}

func (c *Consumer) releaseCapacity(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed -= n
}

// healthy reports whether messages can be handled, as far as Probe can see. If not, it
// has waited for ProbeEvery.
func (c *Consumer) healthy(ctx context.Context) bool {
	if !c.probeNeeded.Load() {
		return true
	}
	err := c.o.Probe(ctx)
	if err == nil {
		c.probeNeeded.Store(false)
		return true
	}
	if ctx.Err() == nil {
		c.o.Logger.Error().Err(err).Str("queue", c.o.QueueURL).Dur("again_in", c.o.ProbeEvery).
			Msg("messages cannot be handled now; none are received")
		_ = backoff.Sleep(ctx, c.o.ProbeEvery)
	}
	return false
}

// oldestAge returns the age of the message that was sent first.
func oldestAge(messages []types.Message) (age time.Duration) {
	for _, m := range messages {
		if sent, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64); err == nil {
			age = max(age, time.Since(time.UnixMilli(sent)))
		}
	}
	return age
}

// handleBatch processes messages concurrently and deletes those that are done.
func (c *Consumer) handleBatch(ctx context.Context, messages []types.Message) {
	b := &batch{receipts: map[string]string{}}
	for i, m := range messages {
		b.receipts[strconv.Itoa(i)] = *m.ReceiptHandle
	}
	extendCtx, stop := context.WithCancel(ctx)
	var extending sync.WaitGroup
	extending.Go(func() { c.extendVisibility(extendCtx, b) })

	var done []types.DeleteMessageBatchRequestEntry
	var mu sync.Mutex
	var g errgroup.Group
	for i, m := range messages {
		g.Go(func() error {
			id := strconv.Itoa(i)
			// A message that is done stays hidden until it is deleted with the others: if
			// it became visible meanwhile, a poison message would have two dead letters.
			if c.process(ctx, m, func() { b.release(id) }) {
				mu.Lock()
				done = append(done, types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: m.ReceiptHandle})
				mu.Unlock()
			}
			return nil
		})
	}
	_ = g.Wait() // process reports through its result
	stop()
	extending.Wait()
	c.deleteMessages(ctx, done)
}

// process handles one message and reports whether it can be deleted. If not, it calls
// release, after which the message's visibility is no longer extended.
func (c *Consumer) process(ctx context.Context, m types.Message, release func()) bool {
	log := c.o.Logger.With().Str("message", aws.ToString(m.MessageId)).Logger()
	ctx = log.WithContext(tracing.Continue(ctx, aws.ToString(m.MessageAttributes[tracing.Attribute].StringValue)))
	in, err := Content(m)
	if err == nil {
		err = c.o.Handle(ctx, in)
	}
	if err == nil {
		c.o.Observe("done")
		return true
	}
	logger := zerolog.Ctx(ctx) // has the order by now, if the message has one
	if poison, ok := errors.AsType[*PermanentError](err); ok {
		if err := c.DeadLetter(ctx, m, poison); err != nil {
			logger.Error().Err(err).Str("reason", poison.Error()).
				Msg("cannot move message to the dead-letter queue; it stays in its queue")
			release()
			c.o.Observe("retry")
			return false
		}
		logger.Warn().Str("reason", poison.Error()).Msg("message moved to the dead-letter queue")
		c.o.Observe("poison")
		return true
	}
	// Before the back-off is set: an extension could undo it.
	release()
	c.probeNeeded.Store(true)
	c.o.Observe("retry")
	received, _ := strconv.Atoi(m.Attributes["ApproximateReceiveCount"]) // absent: 0
	delay := min(time.Second<<min(received, 6), time.Minute)
	logger.Error().Err(err).Int("received", received).Dur("again_in", delay).Msg("message handling failed; retrying")
	_, err = c.o.SQS.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &c.o.QueueURL, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: int32(delay.Seconds()),
	})
	if err != nil {
		logger.Debug().Err(err).Msg("back-off not set; the message is visible again after its visibility timeout")
	}
	return false
}

func (c *Consumer) deleteMessages(ctx context.Context, entries []types.DeleteMessageBatchRequestEntry) {
	if len(entries) == 0 {
		return
	}
	out, err := c.o.SQS.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &c.o.QueueURL, Entries: entries})
	// A message that is not deleted is delivered again, and its handler finds it done.
	if err != nil {
		c.o.Logger.Warn().Err(err).Int("messages", len(entries)).Msg("handled messages not deleted; they will be delivered again")
	} else if len(out.Failed) > 0 {
		c.o.Logger.Warn().Int("messages", len(out.Failed)).Str("first", aws.ToString(out.Failed[0].Message)).
			Msg("handled messages not deleted; they will be delivered again")
	}
}

// extendVisibility keeps the batch's messages hidden from other consumers until ctx ends.
func (c *Consumer) extendVisibility(ctx context.Context, b *batch) {
	tick := time.NewTicker(c.o.Visibility / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var entries []types.ChangeMessageVisibilityBatchRequestEntry
		for id, receipt := range b.pending() {
			entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: &id, ReceiptHandle: &receipt, VisibilityTimeout: int32(c.o.Visibility.Seconds()),
			})
		}
		if len(entries) == 0 {
			continue
		}
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &c.o.QueueURL, Entries: entries}
		if _, err := c.o.SQS.ChangeMessageVisibilityBatch(ctx, in); err != nil && ctx.Err() == nil {
			c.o.Logger.Warn().Err(err).Msg("visibility not extended; another worker may receive the messages too")
		}
	}
}

// batch has the messages whose visibility is extended.
type batch struct {
	mu       sync.Mutex
	receipts map[string]string // receipt handles, by id
}

func (b *batch) release(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.receipts, id)
}

func (b *batch) pending() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.receipts)
}
