package sqs

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// Tests that depend on time run in a synctest bubble, which advances the clock of package
// time.

// client calls the operations of a Service, and stops the test if one fails.
type client struct {
	testing.TB

	s *Service
	c *call
}

func open(t testing.TB, dir string) *client {
	t.Helper()
	s, err := Open(dir, Options{Logger: zerolog.Nop(), CompactAfter: 16 << 10})
	require.NoError(t, err)
	return &client{TB: t, s: s, c: &call{ctx: context.Background(), base: "http://local"}}
}

func (b *client) close() {
	b.Helper()
	require.NoError(b, b.s.Close())
}

func (b *client) queue(name string, attrs map[string]string) string {
	b.Helper()
	out, err := b.s.createQueue(b.c, &createQueueInput{QueueName: name, Attributes: attrs})
	require.NoError(b, err)
	return out.QueueUrl
}

func (b *client) send(url, body string) string {
	b.Helper()
	out, err := b.s.sendMessage(b.c, &sendInput{QueueUrl: url, MessageBody: body})
	require.NoError(b, err)
	return out.MessageId
}

func (b *client) receive(url string, wait int32) []received {
	b.Helper()
	ten := int32(10)
	out, err := b.s.receiveMessage(b.c, &receiveInput{
		QueueUrl: url, MaxNumberOfMessages: &ten, WaitTimeSeconds: &wait,
		AttributeNames: []string{"All"}, MessageAttributeNames: []string{"All"},
	})
	require.NoError(b, err)
	return out.Messages
}

// wantCounts checks how many messages of a queue are visible, in flight and delayed.
func (b *client) wantCounts(when, url string, visible, inFlight, delayed int) {
	b.Helper()
	got, want := b.counts(url), fmt.Sprintf("%d visible, %d in flight, %d delayed", visible, inFlight, delayed)
	if got != want {
		b.Errorf("%s: messages = %s, want %s", when, got, want)
	}
}

func (b *client) counts(url string) string {
	b.Helper()
	out, err := b.s.getAttributes(b.c, &getAttributesInput{QueueUrl: url, AttributeNames: []string{"All"}})
	require.NoError(b, err)
	a := out.Attributes
	return fmt.Sprintf("%s visible, %s in flight, %s delayed", a["ApproximateNumberOfMessages"],
		a["ApproximateNumberOfMessagesNotVisible"], a["ApproximateNumberOfMessagesDelayed"])
}

func (b *client) changeVisibility(url, handle string, seconds int32) {
	b.Helper()
	_, err := b.s.changeVisibility(b.c, &changeInput{QueueUrl: url, ReceiptHandle: handle, VisibilityTimeout: &seconds})
	require.NoError(b, err)
}

func TestVisibilityDelayAndRetentionFollowTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "")
		defer b.close()
		q := b.queue("q", map[string]string{"VisibilityTimeout": "30", "DelaySeconds": "5", "MessageRetentionPeriod": "3600"})
		b.send(q, "x")
		b.wantCounts("after the send", q, 0, 0, 1)
		start := time.Now()
		first := b.receive(q, 20)
		if d := time.Since(start); len(first) != 1 || d != 5*time.Second {
			t.Fatalf("received %d messages after %v, want 1 after the delay of 5s", len(first), d)
		}
		b.wantCounts("after the receive", q, 0, 1, 0)
		start = time.Now()
		if got := b.receive(q, 20); len(got) != 0 || time.Since(start) != 20*time.Second {
			t.Errorf("the long poll received %d messages after %v, want 0 after 20s", len(got), time.Since(start))
		}
		second := b.receive(q, 20)
		if d := time.Since(start); len(second) != 1 || d != 30*time.Second {
			t.Errorf("received %d messages %v after the first receive, want 1 after its visibility timeout of 30s", len(second), d)
		}
		// A shorter timeout takes effect for a long poll that waits already.
		go func() {
			time.Sleep(3 * time.Second)
			seven := int32(7)
			in := &changeInput{QueueUrl: q, ReceiptHandle: second[0].ReceiptHandle, VisibilityTimeout: &seven}
			if _, err := b.s.changeVisibility(b.c, in); err != nil {
				t.Errorf("ChangeMessageVisibility failed: %v", err)
			}
		}()
		start = time.Now()
		if got := b.receive(q, 20); len(got) != 1 || time.Since(start) != 10*time.Second {
			t.Errorf("received %d messages after %v, want 1 after 10s, when the shortened timeout ends", len(got), time.Since(start))
		}
		time.Sleep(time.Hour)
		if got := b.receive(q, 0); len(got) != 0 {
			t.Errorf("received %v after the retention period, want nothing", got)
		}
		b.wantCounts("after the retention period", q, 0, 0, 0)
	})
}

func TestEachArrivalWakesOnePoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "")
		defer b.close()
		q := b.queue("q", nil)
		const polls = 20
		var wg sync.WaitGroup
		got := make(chan int, polls)
		for range polls {
			wg.Go(func() { got <- len(b.receive(q, 20)) })
		}
		synctest.Wait()
		for i := range polls {
			b.send(q, strconv.Itoa(i))
		}
		wg.Wait()
		close(got)
		total := 0
		for n := range got {
			total += n
		}
		if total != polls {
			t.Errorf("the polls received %d messages, want all %d", total, polls)
		}
	})
}

func TestACancelledPollPassesItsWakeUpToTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "")
		defer b.close()
		q := b.queue("q", nil)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = b.s.receive(ctx, b.s.byName("q"), 1, time.Minute, 20*time.Second, func(*message) {})
		})
		synctest.Wait()
		var late []received
		wg.Go(func() { late = b.receive(q, 10) })
		synctest.Wait()
		cancel()
		b.send(q, "x")
		start := time.Now()
		wg.Wait()
		// Either the first poll received it before it was cancelled, or the second did.
		if len(late) == 0 && b.counts(q) != "0 visible, 1 in flight, 0 delayed" || time.Since(start) > 10*time.Second {
			t.Errorf("second poll received %v after %v, queue has %s, want the message received by either poll within 10 s",
				late, time.Since(start), b.counts(q))
		}
	})
}

func TestDrainEndsLongPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "")
		q := b.queue("q", nil)
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { b.receive(q, 20) })
		synctest.Wait()
		b.s.Drain()
		wg.Wait()
		if time.Since(start) != 0 {
			t.Errorf("the long poll returned %v after Drain, want at once", time.Since(start))
		}
		b.close()
	})
}

func TestMoveTaskKeepsItsRateAndCanBeCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "")
		defer b.close()
		dlq := b.queue("dlq", nil)
		q := b.queue("q", map[string]string{"RedrivePolicy": redriveAfterOne(b.s.arn("dlq"))})
		for i := range 100 {
			b.send(dlq, strconv.Itoa(i))
		}
		rate := int32(10)
		task, err := b.s.startMove(b.c, &startMoveInput{
			SourceArn: b.s.arn("dlq"), DestinationArn: b.s.arn("q"), MaxNumberOfMessagesPerSecond: &rate,
		})
		require.NoError(t, err)
		if _, err := b.s.startMove(b.c, &startMoveInput{SourceArn: b.s.arn("dlq")}); err == nil {
			t.Error("a second task of the same source was accepted, want an error")
		}
		time.Sleep(4*time.Second + 50*time.Millisecond)
		cancelled, err := b.s.cancelMove(b.c, &cancelMoveInput{TaskHandle: task.TaskHandle})
		require.NoError(t, err)
		if n := cancelled.ApproximateNumberOfMessagesMoved; n != 41 {
			t.Errorf("moved %d messages in 4 s at 10 per second, want 41: the first at once", n)
		}
		synctest.Wait()
		list, err := b.s.listMoves(b.c, &listMovesInput{SourceArn: b.s.arn("dlq")})
		require.NoError(t, err)
		if r := list.Results; len(r) != 1 || r[0].Status != "CANCELLED" {
			t.Errorf("tasks = %+v, want one with status CANCELLED", r)
		}
		b.wantCounts("destination", q, 41, 0, 0)
		b.wantCounts("dead-letter queue", dlq, 59, 0, 0)
	})
}

// redriveAfterOne returns a policy that dead-letters a message at its second receive.
func redriveAfterOne(dlqARN string) string {
	return `{"deadLetterTargetArn":"` + dlqARN + `","maxReceiveCount":1}`
}

func TestReopenKeepsQueuesAndMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	dlq := b.queue("dlq", nil)
	q := b.queue("q", map[string]string{"VisibilityTimeout": "600", "RedrivePolicy": redriveAfterOne(b.s.arn("dlq"))})
	deleted := b.queue("deleted", nil)
	b.send(deleted, "x")
	_, err := b.s.deleteQueue(b.c, &queueURLInput{QueueUrl: deleted})
	require.NoError(t, err)

	attrs := messageAttributes{"k": {DataType: "String", StringValue: "v"}, "b": {DataType: "Binary", BinaryValue: []byte{1}}}
	_, err = b.s.sendMessage(b.c, &sendInput{QueueUrl: q, MessageBody: "poison", MessageAttributes: attrs})
	require.NoError(t, err)
	m := b.receive(q, 0)[0]
	b.changeVisibility(q, m.ReceiptHandle, 0)
	b.receive(q, 0) // the second receive moves it to the dead-letter queue
	b.send(q, "in flight")
	handle := b.receive(q, 0)[0].ReceiptHandle
	for i := range 2_000 { // enough for several compactions of the journal
		b.send(q, strconv.Itoa(i))
		got := b.receive(q, 0)
		if len(got) != 1 {
			t.Fatalf("received %d messages in round %d, want 1", len(got), i)
		}
		_, err := b.s.deleteMessage(b.c, &deleteInput{QueueUrl: q, ReceiptHandle: got[0].ReceiptHandle})
		require.NoError(t, err)
	}
	b.send(q, "visible")
	b.close()

	b = open(t, dir)
	defer b.close()
	b.wantCounts("after the restart", q, 1, 1, 0)
	if _, err := b.s.getQueueURL(b.c, &getQueueURLInput{QueueName: "deleted"}); err == nil {
		t.Error("the deleted queue exists after the restart, want an error")
	}
	dead := b.receive(dlq, 0)
	if len(dead) != 1 || dead[0].Body != "poison" || dead[0].MD5OfMessageAttributes != m.MD5OfMessageAttributes ||
		dead[0].Attributes["DeadLetterQueueSourceArn"] != b.s.arn("q") {
		t.Errorf("dead letters = %+v, want the poison message with its attributes and its source", dead)
	}
	if _, err := b.s.deleteMessage(b.c, &deleteInput{QueueUrl: q, ReceiptHandle: handle}); err != nil {
		t.Errorf("deleting with a handle from before the restart failed: %v", err)
	}
	b.wantCounts("after the delete", q, 1, 0, 0)
}

func FuzzReplayNeverPanics(f *testing.F) {
	f.Add([]byte("M"))
	f.Add([]byte(`Q{"Name":"q","ID":1}`))
	f.Fuzz(func(_ *testing.T, record []byte) {
		s := &Service{queues: map[string]*queue{}}
		_ = newReplay(s).record(record)
	})
}
