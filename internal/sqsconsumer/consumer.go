// Package intake turns queue messages into sagas: OrderPlaced starts one, a
// carrier's answer is passed on to one. A message is deleted only when what it
// caused is durable; one that can never succeed goes to the dead-letter queue
// at once, with its reason.
package sqsconsumer

import (
	"context"
	"errors"
	"fmt"
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

// SQS is what a consumer uses of *sqs.Client.
type SQS interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	DeleteMessageBatch(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
	ChangeMessageVisibility(context.Context, *sqs.ChangeMessageVisibilityInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error)
	ChangeMessageVisibilityBatch(context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

// PermanentError is an error that no repetition can mend: the message goes to the
// dead-letter queue. Its text is cut: the reason may quote the message.
type PermanentError struct{ Reason error }

func (p *PermanentError) Error() string { return text.Cut(p.Reason.Error(), text.Max) }
func (p *PermanentError) Unwrap() error { return p.Reason }

// Options of a Consumer.
type Options struct {
	SQS      SQS
	QueueURL string
	DLQURL   string
	// Handle does what a message asks for. It returns when that is durable, a
	// *PermanentError if it never can be, or another error to be tried again later.
	// It must be safe to run twice for the same message.
	Handle func(ctx context.Context, m events.Message) error
	// Capacity is how many messages more may be taken in; nil means any number.
	// While there is none, messages stay in the queue, where others can take them.
	Capacity func(ctx context.Context) int
	// Probe is asked, once a message could not be handled, before more are
	// received; nil if nobody knows. While it fails, none are: each receive
	// brings a message closer to SQS's own dead letters, where no reason is.
	Probe func(ctx context.Context) error
	// ProbeEvery is the pause after a Probe that failed; 0 means 5 s.
	ProbeEvery time.Duration
	Logger     zerolog.Logger
	// Receivers is how many long polls run at a time; 0 means 2.
	Receivers int
	// Visibility is how long a message stays hidden from others while it is
	// handled; it is extended as long as that takes. 0 means 30 s.
	Visibility time.Duration
	// Drain is how long what has been received may take to finish when Run's
	// context ends; the rest comes again. 0 means 10 s.
	Drain time.Duration
	// Observe is told of every message's outcome ("done", "poison", "retry");
	// nil if nobody listens.
	Observe func(outcome string)
	// Lag is told how old the oldest message of each receive was, and zero when
	// none came; nil if nobody listens.
	Lag func(time.Duration)
}

// denials are as many as a new permission may need to be known everywhere in AWS.
const denials = 3

// Consumer handles one queue.
type Consumer struct {
	o Options
	// once is set when something has been received: what AWS refuses later is
	// waited out.
	once atomic.Bool
	// ill is set when a message could not be handled.
	ill atomic.Bool

	mu      sync.Mutex
	claimed int // room that is asked of the queue, or handled
}

// New makes a consumer; Run starts it.
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
// received and returns nil. It returns an error if it turns out to have no permission
// to receive: from the beginning, for what is withdrawn later may be given back.
func (c *Consumer) Run(ctx context.Context) error {
	// What has been received is finished even when ctx ends: a worker that is
	// told to stop leaves nothing half done, if it can.
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
		if !c.well(ctx) {
			continue
		}
		room := c.claim(ctx)
		if room == 0 {
			_ = backoff.Sleep(ctx, 20*time.Millisecond)
			continue
		}
		out, err := c.o.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &c.o.QueueURL, MaxNumberOfMessages: int32(room), WaitTimeSeconds: 20,
			VisibilityTimeout:           int32(c.o.Visibility.Seconds()),
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameSentTimestamp},
			MessageAttributeNames:       []string{"All"}, // some say what it is, and all go with it if it is buried
		})
		if err != nil {
			c.release(room)
			if failures++; failures == denials && cloud.IsAccessDenied(err) && !c.once.Load() {
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
		c.once.Store(true)
		c.o.Lag(oldest(out.Messages))
		if len(out.Messages) > 0 {
			c.batch(work, out.Messages)
		}
		c.release(room)
	}
	return nil
}

// claim takes up to a receive's ten messages' room, or none.
func (c *Consumer) claim(ctx context.Context) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := max(min(c.o.Capacity(ctx)-c.claimed, 10), 0)
	c.claimed += n
	return n
}

func (c *Consumer) release(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed -= n
}

// well reports whether messages can be handled, as far as is known. If not, it
// has waited for a while.
func (c *Consumer) well(ctx context.Context) bool {
	if !c.ill.Load() {
		return true
	}
	err := c.o.Probe(ctx)
	if err == nil {
		c.ill.Store(false)
		return true
	}
	if ctx.Err() == nil {
		c.o.Logger.Error().Err(err).Str("queue", c.o.QueueURL).Dur("again_in", c.o.ProbeEvery).Msg("messages cannot be handled now; none are received")
		_ = backoff.Sleep(ctx, c.o.ProbeEvery)
	}
	return false
}

// oldest is the age of the message that was sent first.
func oldest(messages []types.Message) (age time.Duration) {
	for _, m := range messages {
		if sent, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64); err == nil {
			age = max(age, time.Since(time.UnixMilli(sent)))
		}
	}
	return age
}

// batch handles messages side by side and settles each by its outcome.
func (c *Consumer) batch(ctx context.Context, messages []types.Message) {
	b := &batch{open: map[string]string{}}
	for i, m := range messages {
		b.open[strconv.Itoa(i)] = *m.ReceiptHandle
	}
	beating, stop := context.WithCancel(ctx)
	var heart sync.WaitGroup
	heart.Go(func() { c.extend(beating, b) })

	var done []types.DeleteMessageBatchRequestEntry
	var mu sync.Mutex
	var g errgroup.Group
	for i, m := range messages {
		g.Go(func() error {
			id := strconv.Itoa(i)
			// What is done stays hidden until it is deleted with the others:
			// if it came back meanwhile, a poison message would be buried twice.
			if c.settle(ctx, m, func() { b.close(id) }) {
				mu.Lock()
				done = append(done, types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: m.ReceiptHandle})
				mu.Unlock()
			}
			return nil
		})
	}
	_ = g.Wait() // settle reports through its result
	stop()
	heart.Wait()
	c.delete(ctx, done)
}

// settle handles one message; true means that it can be deleted. If not,
// letGo is called, and the message is no longer kept hidden.
func (c *Consumer) settle(ctx context.Context, m types.Message, letGo func()) bool {
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
	logger := zerolog.Ctx(ctx) // knows the order by now, if the message said which
	if poison, ok := errors.AsType[*PermanentError](err); ok {
		if err := c.DeadLetter(ctx, m, poison); err != nil {
			logger.Error().Err(err).Str("reason", poison.Error()).Msg("cannot move message to the dead-letter queue; it stays in its queue")
			letGo()
			c.o.Observe("retry")
			return false
		}
		logger.Warn().Str("reason", poison.Error()).Msg("message moved to the dead-letter queue")
		c.o.Observe("poison")
		return true
	}
	// Before the back-off is set: a heartbeat could undo it.
	letGo()
	c.ill.Store(true)
	c.o.Observe("retry")
	received, _ := strconv.Atoi(m.Attributes["ApproximateReceiveCount"]) // absent: 0
	delay := min(time.Second<<min(received, 6), time.Minute)
	logger.Error().Err(err).Int("received", received).Dur("again_in", delay).Msg("message not handled yet")
	_, err = c.o.SQS.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &c.o.QueueURL, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: int32(delay.Seconds()),
	})
	if err != nil {
		logger.Debug().Err(err).Msg("back-off not set; the visibility time-out does it")
	}
	return false
}

func (c *Consumer) delete(ctx context.Context, entries []types.DeleteMessageBatchRequestEntry) {
	if len(entries) == 0 {
		return
	}
	out, err := c.o.SQS.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &c.o.QueueURL, Entries: entries})
	// Whatever is not deleted comes again and is found to be done.
	if err != nil {
		c.o.Logger.Warn().Err(err).Int("messages", len(entries)).Msg("handled messages not deleted; they will come again")
	} else if len(out.Failed) > 0 {
		c.o.Logger.Warn().Int("messages", len(out.Failed)).Str("first", aws.ToString(out.Failed[0].Message)).
			Msg("handled messages not deleted; they will come again")
	}
}

// extend keeps the batch's messages hidden from others.
func (c *Consumer) extend(ctx context.Context, b *batch) {
	beat := time.NewTicker(c.o.Visibility / 3)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		var entries []types.ChangeMessageVisibilityBatchRequestEntry
		for id, receipt := range b.still() {
			entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: &id, ReceiptHandle: &receipt, VisibilityTimeout: int32(c.o.Visibility.Seconds()),
			})
		}
		if len(entries) == 0 {
			continue
		}
		if _, err := c.o.SQS.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &c.o.QueueURL, Entries: entries}); err != nil && ctx.Err() == nil {
			c.o.Logger.Warn().Err(err).Msg("visibility not extended; another worker may see the message too")
		}
	}
}

// batch knows which of its messages are to stay hidden.
type batch struct {
	mu   sync.Mutex
	open map[string]string
}

func (b *batch) close(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, id)
}

func (b *batch) still() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := make(map[string]string, len(b.open))
	for k, v := range b.open {
		m[k] = v
	}
	return m
}
