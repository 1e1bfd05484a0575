package sqsconsumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

const second = time.Second // the shortest visibility time-out that SQS knows

// client passes everything on to the endpoint, watches, and makes calls fail
// that the test wants to fail.
type client struct {
	*sqs.Client
	hurry bool          // back-offs are noted and not waited for
	beats chan struct{} // told of each heartbeat

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

func (c *client) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	if c.take(&c.failDelete) {
		return nil, errCall
	}
	return c.Client.DeleteMessageBatch(ctx, in, o...)
}

func (c *client) ChangeMessageVisibility(ctx context.Context, in *sqs.ChangeMessageVisibilityInput, o ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error) {
	c.mu.Lock()
	c.backoffs = append(c.backoffs, in.VisibilityTimeout)
	c.mu.Unlock()
	if c.hurry {
		at := *in
		at.VisibilityTimeout = 0
		in = &at
	}
	return c.Client.ChangeMessageVisibility(ctx, in, o...)
}

func (c *client) ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, o ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	out, err := c.Client.ChangeMessageVisibilityBatch(ctx, in, o...)
	select {
	case c.beats <- struct{}{}:
	default:
	}
	return out, err
}

func TestFailuresAreTriedAgainEverLater(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "body", nil)
	c := &client{Client: a.Clients.SQS, hurry: true}
	var tries atomic.Int32
	outcomes, stop := a.Consume(t, sqsconsumer.Options{SQS: c, Handle: func(context.Context, events.Message) error {
		if tries.Add(1) <= 7 {
			return errors.New("the database is away")
		}
		return nil
	}})
	testkit.WantOutcomes(t, outcomes, "retry", 7)
	testkit.WantOutcomes(t, outcomes, "done", 1)
	stop()
	if want := []int32{2, 4, 8, 16, 32, 60, 60}; !slices.Equal(c.backoffs, want) {
		t.Errorf("back-offs %v, want %v", c.backoffs, want)
	}
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "0" || h != "0" {
		t.Errorf("%s and %s messages are left", v, h)
	}
	if v, h := a.Depth(t, a.Resources.OrderDLQ); v != "0" || h != "0" {
		t.Errorf("%s and %s messages in the dead-letter queue", v, h)
	}
}

// TestSlowMessagesStayHidden lets one message of a batch take longer than the
// visibility time-out. Neither it nor the one that was done at once may come
// back meanwhile.
func TestSlowMessagesStayHidden(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "slow", nil)
	a.Send(t, "quick", nil)
	c := &client{Client: a.Clients.SQS, beats: make(chan struct{})}
	release := make(chan struct{})
	outcomes, stop := a.Consume(t, sqsconsumer.Options{SQS: c, Receivers: 1, Visibility: second, Handle: func(_ context.Context, m events.Message) error {
		if string(m.Body) == "slow" {
			<-release
		}
		return nil
	}})
	testkit.WantOutcomes(t, outcomes, "done", 1)
	for range 4 { // beats come three times in a time-out
		<-c.beats
	}
	out, err := a.Clients.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &a.Resources.OrderQueue, MaxNumberOfMessages: 10})
	if err != nil || len(out.Messages) != 0 {
		t.Errorf("%d messages came back, %v", len(out.Messages), err)
	}
	close(release)
	testkit.WantOutcomes(t, outcomes, "done", 1)
	stop()
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "0" || h != "0" {
		t.Errorf("%s and %s messages are left", v, h)
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
		t.Fatalf("Run returned with a message in hand: %v", err)
	default:
	}
	close(release)
	if err := <-ran; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-handled; err != nil {
		t.Errorf("the handler's context has ended: %v", err)
	}
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "0" || h != "0" {
		t.Errorf("%s and %s messages are left", v, h)
	}
}

func TestStoppingBeforeTheStart(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "body", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	testkit.Must(t, sqsconsumer.New(sqsconsumer.Options{SQS: a.Clients.SQS, QueueURL: a.Resources.OrderQueue, Handle: func(context.Context, events.Message) error {
		t.Error("handled")
		return nil
	}}).Run(ctx))
	if v, _ := a.Depth(t, a.Resources.OrderQueue); v != "1" {
		t.Errorf("%s messages are left", v)
	}
}

func TestNoRoomLeavesMessagesToOthers(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "body", nil)
	var room atomic.Bool
	asked := make(chan struct{})
	outcomes, _ := a.Consume(t, sqsconsumer.Options{
		Handle: func(context.Context, events.Message) error { return nil },
		Capacity: func(ctx context.Context) int {
			select {
			case asked <- struct{}{}:
			case <-ctx.Done():
			default:
			}
			if !room.Load() {
				return 0
			}
			return 1
		},
	})
	for range 5 {
		<-asked
	}
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "1" || h != "0" {
		t.Errorf("%s visible, %s taken", v, h)
	}
	room.Store(true)
	testkit.WantOutcomes(t, outcomes, "done", 1)
}

// TestRoomBoundsWhatIsTakenIn, though several receive at a time, ten each.
func TestRoomBoundsWhatIsTakenIn(t *testing.T) {
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
	testkit.Eventually(t, "it has asked again and again", func() error {
		mu.Lock()
		defer mu.Unlock()
		if full < 20 {
			return fmt.Errorf("%d times", full)
		}
		return nil
	})
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "13" || h != "0" || most != 7 {
		t.Errorf("%s left, %s in flight, %d were taken in", v, h, most)
	}
	mu.Lock()
	limit = 20
	mu.Unlock()
	testkit.WantOutcomes(t, outcomes, "done", 13)
	stop()
}

// TestNothingIsReceivedWhileNothingCanBeHandled: SQS would count each receive.
func TestNothingIsReceivedWhileNothingCanBeHandled(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	c := &client{Client: a.Clients.SQS, hurry: true}
	var tries, probes atomic.Int32
	outcomes, stop := a.Consume(t, sqsconsumer.Options{
		SQS: c, ProbeEvery: time.Millisecond, Receivers: 1,
		Handle: func(context.Context, events.Message) error {
			if tries.Add(1) == 1 {
				return errors.New("the database is away")
			}
			return nil
		},
		Probe: func(context.Context) error {
			if probes.Add(1) <= 50 {
				if n := tries.Load(); n != 1 {
					t.Errorf("%d tries while it is away", n)
				}
				return errors.New("still away")
			}
			return nil
		},
	})
	a.Send(t, "body", nil)
	testkit.WantOutcomes(t, outcomes, "retry", 1)
	testkit.WantOutcomes(t, outcomes, "done", 1)
	stop()
	if n := probes.Load(); n != 51 {
		t.Errorf("%d probes", n)
	}
}

func TestWhatCannotBeDeletedComesAgain(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.Send(t, "body", nil)
	c := &client{Client: a.Clients.SQS, failDelete: 1}
	outcomes, stop := a.Consume(t, sqsconsumer.Options{SQS: c, Visibility: second, Handle: func(context.Context, events.Message) error { return nil }})
	testkit.WantOutcomes(t, outcomes, "done", 2)
	stop()
	if v, h := a.Depth(t, a.Resources.OrderQueue); v != "0" || h != "0" {
		t.Errorf("%s and %s messages are left", v, h)
	}
}

func TestAQueueThatCannotBeReadIsTriedAgain(t *testing.T) {
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

// TestOnePoisonAmongMany buries what is bad and handles what is good, whatever
// batches they come in.
func TestOnePoisonAmongMany(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	for n := range 45 {
		a.Send(t, fmt.Sprint(n), nil)
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
			t.Error("a retry")
		}
	}
	stop()
	if good.Load() != 41 || bad.Load() != 4 {
		t.Errorf("%d good, %d bad", good.Load(), bad.Load())
	}
	if v, _ := a.Depth(t, a.Resources.OrderDLQ); v != "4" {
		t.Errorf("%s messages in the dead-letter queue", v)
	}
}
