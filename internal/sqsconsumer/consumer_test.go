package sqsconsumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

const second = time.Second // the shortest visibility timeout that SQS accepts

// client forwards everything to the endpoint, records calls, and makes some fail.
type client struct {
	*sqs.Client
	noBackoff  bool          // back-offs are recorded and not waited for
	extensions chan struct{} // receives at each extension of visibility

	mu         sync.Mutex
	backoffs   []int32
	failSend   int
	failDelete int
}

var errCall = errors.New("the call failed")

func (c *client) take(n *int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n--
	return *n >= 0
}

func (c *client) SendMessage(ctx context.Context, in *sqs.SendMessageInput, o ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if c.take(&c.failSend) {
		return nil, errCall
	}
	return c.Client.SendMessage(ctx, in, o...)
}

func (c *client) DeleteMessageBatch(
	ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options),
) (*sqs.DeleteMessageBatchOutput, error) {
	if c.take(&c.failDelete) {
		return nil, errCall
	}
	return c.Client.DeleteMessageBatch(ctx, in, o...)
}

func (c *client) ChangeMessageVisibility(
	ctx context.Context, in *sqs.ChangeMessageVisibilityInput, o ...func(*sqs.Options),
) (*sqs.ChangeMessageVisibilityOutput, error) {
	c.mu.Lock()
	c.backoffs = append(c.backoffs, in.VisibilityTimeout)
	c.mu.Unlock()
	if c.noBackoff {
		at := *in
		at.VisibilityTimeout = 0
		in = &at
	}
	return c.Client.ChangeMessageVisibility(ctx, in, o...)
}

func (c *client) ChangeMessageVisibilityBatch(
	ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, o ...func(*sqs.Options),
) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	out, err := c.Client.ChangeMessageVisibilityBatch(ctx, in, o...)
	select {
	case c.extensions <- struct{}{}:
	default:
	}
	return out, err
}

func TestFailuresAreRetriedWithGrowingBackoff(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "body", nil)
	c := &client{Client: a.Clients.SQS, noBackoff: true}
	var tries atomic.Int32
	outcomes, stop := a.Consume(t, sqsconsumer.Options{SQS: c, Handle: func(context.Context, events.Message) error {
		if tries.Add(1) <= 7 {
			return errors.New("the database is down")
		}
		return nil
	}})
	testkit.WantOutcomes(t, outcomes, "retry", 7)
	testkit.WantOutcomes(t, outcomes, "done", 1)
	stop()
	if want := []int32{2, 4, 8, 16, 32, 60, 60}; !slices.Equal(c.backoffs, want) {
		t.Errorf("back-offs = %v, want %v", c.backoffs, want)
	}
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "0" || h != "0" {
		t.Errorf("queue has %s visible and %s in flight, want none", v, h)
	}
	if v, h := a.Depth(t, a.Resources.OrderDLQ); v != "0" || h != "0" {
		t.Errorf("dead-letter queue has %s visible and %s in flight, want none", v, h)
	}
}

// TestSlowMessagesStayHidden: one message of a batch takes longer than the visibility
// timeout. Neither it nor the one that was done at once may become visible meanwhile.
func TestSlowMessagesStayHidden(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "slow", nil)
	a.Send(t, "quick", nil)
	c := &client{Client: a.Clients.SQS, extensions: make(chan struct{})}
	release := make(chan struct{})
	handle := func(_ context.Context, m events.Message) error {
		if string(m.Body) == "slow" {
			<-release
		}
		return nil
	}
	outcomes, stop := a.Consume(t, sqsconsumer.Options{SQS: c, Receivers: 1, Visibility: second, Handle: handle})
	testkit.WantOutcomes(t, outcomes, "done", 1)
	for range 4 { // three extensions per timeout
		<-c.extensions
	}
	out, err := a.Clients.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &a.Resources.OrderQueue, MaxNumberOfMessages: 10})
	if err != nil || len(out.Messages) != 0 {
		t.Errorf("%d messages became visible (%v), want none", len(out.Messages), err)
	}
	close(release)
	testkit.WantOutcomes(t, outcomes, "done", 1)
	stop()
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "0" || h != "0" {
		t.Errorf("queue has %s visible and %s in flight, want none", v, h)
	}
}

func TestStoppingFinishesWhatWasReceived(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "body", nil)
	entered, release := make(chan struct{}), make(chan struct{})
	handled := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() {
		ran <- sqsconsumer.New(sqsconsumer.Options{
			SQS: a.Clients.SQS, QueueURL: a.Resources.OrderQueue, DLQURL: a.Resources.OrderDLQ,
			Handle: func(ctx context.Context, _ events.Message) error {
				close(entered)
				<-release
				handled <- ctx.Err()
				return nil
			},
		}).Run(ctx)
	}()
	<-entered
	cancel()
	select {
	case err := <-ran:
		t.Fatalf("Run returned %v while a message was being handled", err)
	default:
	}
	close(release)
	if err := <-ran; err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	if err := <-handled; err != nil {
		t.Errorf("handler's context: %v, want it not to have ended", err)
	}
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "0" || h != "0" {
		t.Errorf("queue has %s visible and %s in flight, want none", v, h)
	}
}

func TestEndedContextReceivesNothing(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "body", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, sqsconsumer.New(sqsconsumer.Options{
		SQS: a.Clients.SQS, QueueURL: a.Resources.OrderQueue,
		Handle: func(context.Context, events.Message) error {
			t.Error("the handler was called, want no call after the context has ended")
			return nil
		},
	}).Run(ctx))
	if v, _ := a.Depth(t, a.Resources.OrderQueue); v != "1" {
		t.Errorf("queue has %s visible, want 1", v)
	}
}

func TestNoCapacityLeavesMessagesInTheQueue(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "body", nil)
	var capacity atomic.Bool
	asked := make(chan struct{})
	outcomes, _ := a.Consume(t, sqsconsumer.Options{
		Handle: func(context.Context, events.Message) error { return nil },
		Capacity: func(ctx context.Context) int {
			select {
			case asked <- struct{}{}:
			case <-ctx.Done():
			default:
			}
			if !capacity.Load() {
				return 0
			}
			return 1
		},
	})
	for range 5 {
		<-asked
	}
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "1" || h != "0" {
		t.Errorf("queue has %s visible and %s in flight, want 1 and 0", v, h)
	}
	capacity.Store(true)
	testkit.WantOutcomes(t, outcomes, "done", 1)
}

// TestCapacityBoundsReceives, though several receive concurrently, ten each.
func TestCapacityBoundsReceives(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	for range 20 {
		a.Send(t, "body", nil)
	}
	var mu sync.Mutex
	limit, live, most, full := 7, 0, 0, 0
	outcomes, stop := a.Consume(t, sqsconsumer.Options{
		Receivers: 4,
		Handle: func(context.Context, events.Message) error {
			mu.Lock()
			defer mu.Unlock()
			live++
			most = max(most, live)
			return nil
		},
		Capacity: func(context.Context) int {
			mu.Lock()
			defer mu.Unlock()
			if live == limit {
				full++
			}
			return limit - live
		},
	})
	testkit.WantOutcomes(t, outcomes, "done", 7)
	testkit.Eventually(t, "20 reads of the capacity", func() error {
		mu.Lock()
		defer mu.Unlock()
		if full < 20 {
			return fmt.Errorf("%d times", full)
		}
		return nil
	})
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "13" || h != "0" || most != 7 {
		t.Errorf("queue has %s visible and %s in flight, %d were handled; want 13, 0 and 7", v, h, most)
	}
	mu.Lock()
	limit = 20
	mu.Unlock()
	testkit.WantOutcomes(t, outcomes, "done", 13)
	stop()
}

// TestNothingIsReceivedWhileProbeFails: SQS would count each receive.
func TestNothingIsReceivedWhileProbeFails(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	c := &client{Client: a.Clients.SQS, noBackoff: true}
	var tries, probes atomic.Int32
	outcomes, stop := a.Consume(t, sqsconsumer.Options{
		SQS: c, ProbeEvery: time.Millisecond, Receivers: 1,
		Handle: func(context.Context, events.Message) error {
			if tries.Add(1) == 1 {
				return errors.New("the database is down")
			}
			return nil
		},
		Probe: func(context.Context) error {
			if probes.Add(1) <= 50 {
				if n := tries.Load(); n != 1 {
					t.Errorf("%d attempts while the probe fails, want 1", n)
				}
				return errors.New("still down")
			}
			return nil
		},
	})
	a.Send(t, "body", nil)
	testkit.WantOutcomes(t, outcomes, "retry", 1)
	testkit.WantOutcomes(t, outcomes, "done", 1)
	stop()
	if n := probes.Load(); n != 51 {
		t.Errorf("%d probes, want 51", n)
	}
}

func TestUndeletedMessageIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "body", nil)
	c := &client{Client: a.Clients.SQS, failDelete: 1}
	outcomes, stop := a.Consume(t, sqsconsumer.Options{
		SQS: c, Visibility: second, Handle: func(context.Context, events.Message) error { return nil },
	})
	testkit.WantOutcomes(t, outcomes, "done", 2)
	stop()
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "0" || h != "0" {
		t.Errorf("queue has %s visible and %s in flight, want none", v, h)
	}
}

func TestDeniedReceivesAreRetriedAtFirst(t *testing.T) {
	t.Parallel()
	var denied atomic.Int32
	a := testkit.NewAWS(t, func(o *awslocal.Options) {
		o.Fault = func(_, operation string) error {
			if operation == "ReceiveMessage" && denied.Add(1) <= 2 {
				return &awslocal.Error{Status: 403, Code: "AccessDenied", Message: "not yet"}
			}
			return nil
		}
	})
	outcomes, _ := a.Consume(t, sqsconsumer.Options{Handle: func(context.Context, events.Message) error { return nil }})
	a.Send(t, "body", nil)
	testkit.WantOutcomes(t, outcomes, "done", 1)
}

// TestPoisonAmongManyIsDeadLettered, and the others are handled, whatever the batches.
func TestPoisonAmongManyIsDeadLettered(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	for n := range 45 {
		a.Send(t, strconv.Itoa(n), nil)
	}
	var good, bad atomic.Int32
	outcomes, stop := a.Consume(t, sqsconsumer.Options{Handle: func(_ context.Context, m events.Message) error {
		if m.Body[len(m.Body)-1] == '7' {
			bad.Add(1)
			return fmt.Errorf("wrapped: %w", &sqsconsumer.PermanentError{Reason: errors.New("seven")})
		}
		good.Add(1)
		return nil
	}})
	for range 45 {
		if o := <-outcomes; o == "retry" {
			t.Error("outcome = retry, want done or poison")
		}
	}
	stop()
	if good.Load() != 41 || bad.Load() != 4 {
		t.Errorf("%d good and %d poison messages, want 41 and 4", good.Load(), bad.Load())
	}
	if v, _ := a.Depth(t, a.Resources.OrderDLQ); v != "4" {
		t.Errorf("dead-letter queue has %s messages, want 4", v)
	}
}
