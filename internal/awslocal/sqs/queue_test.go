package sqs

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// Times are tested in a synctest bubble: the service uses package time, whose
// clock the bubble moves.

type bench struct {
	testing.TB
	s *Service
	c *call
}

func open(t testing.TB, dir string) *bench {
	t.Helper()
	s, err := Open(dir, Options{Logger: zerolog.Nop(), CompactAfter: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t, s, &call{ctx: context.Background(), base: "http://local"}}
}

func (b *bench) close() {
	b.Helper()
	if err := b.s.Close(); err != nil {
		b.Fatal(err)
	}
}

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (b *bench) queue(name string, attrs map[string]string) string {
	b.Helper()
	out, err := b.s.createQueue(b.c, &createQueueInput{QueueName: name, Attributes: attrs})
	return must(b, out, err).QueueUrl
}

func (b *bench) send(url, body string) string {
	b.Helper()
	out, err := b.s.sendMessage(b.c, &sendInput{QueueUrl: url, MessageBody: body})
	return must(b, out, err).MessageId
}

func (b *bench) receive(url string, wait int32) []received {
	b.Helper()
	ten := int32(10)
	out, err := b.s.receiveMessage(b.c, &receiveInput{QueueUrl: url, MaxNumberOfMessages: &ten, WaitTimeSeconds: &wait, AttributeNames: []string{"All"}, MessageAttributeNames: []string{"All"}})
	return must(b, out, err).Messages
}

func (b *bench) counts(url string) string {
	b.Helper()
	out, err := b.s.getAttributes(b.c, &getAttributesInput{QueueUrl: url, AttributeNames: []string{"All"}})
	a := must(b, out, err).Attributes
	return a["ApproximateNumberOfMessages"] + "/" + a["ApproximateNumberOfMessagesNotVisible"] + "/" + a["ApproximateNumberOfMessagesDelayed"]
}

func TestVisibilityDelayAndRetentionFollowTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "")
		defer b.close()
		q := b.queue("q", map[string]string{"VisibilityTimeout": "30", "DelaySeconds": "5", "MessageRetentionPeriod": "3600"})
		b.send(q, "x")
		if got := b.counts(q); got != "0/0/1" {
			t.Errorf("delayed: %s", got)
		}
		start := time.Now()
		first := b.receive(q, 20)
		if d := time.Since(start); len(first) != 1 || d != 5*time.Second {
			t.Fatalf("%d messages after %v", len(first), d)
		}
		if got := b.counts(q); got != "0/1/0" {
			t.Errorf("in flight: %s", got)
		}
		start = time.Now()
		if got := b.receive(q, 20); len(got) != 0 || time.Since(start) != 20*time.Second {
			t.Errorf("long poll: %d after %v", len(got), time.Since(start))
		}
		second := b.receive(q, 20)
		if d := time.Since(start); len(second) != 1 || d != 30*time.Second {
			t.Errorf("visible again: %d after %v", len(second), d)
		}
		// Shortening the timeout wakes a poll that waits for the longer one.
		go func() {
			time.Sleep(3 * time.Second)
			seven := int32(7)
			if _, err := b.s.changeVisibility(b.c, &changeInput{QueueUrl: q, ReceiptHandle: second[0].ReceiptHandle, VisibilityTimeout: &seven}); err != nil {
				t.Error(err)
			}
		}()
		start = time.Now()
		if got := b.receive(q, 20); len(got) != 1 || time.Since(start) != 10*time.Second {
			t.Errorf("shortened: %d after %v", len(got), time.Since(start))
		}
		time.Sleep(time.Hour)
		if got := b.receive(q, 0); len(got) != 0 {
			t.Errorf("expired message received: %v", got)
		}
		if got := b.counts(q); got != "0/0/0" {
			t.Errorf("expired: %s", got)
		}
	})
}

func TestEachArrivalWakesOnePoll(t *testing.T) {
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
			b.send(q, fmt.Sprint(i))
		}
		wg.Wait()
		close(got)
		total := 0
		for n := range got {
			total += n
		}
		if total != polls {
			t.Errorf("received %d of %d", total, polls)
		}
	})
}

func TestAPollThatLeavesPassesItsWakeUpOn(t *testing.T) {
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
		// Either the first poll took it before it saw the end, or the second did.
		if len(late) == 0 && b.counts(q) != "0/1/0" || time.Since(start) > 10*time.Second {
			t.Errorf("stranded: %s", b.counts(q))
		}
	})
}

func TestDrainEndsLongPolls(t *testing.T) {
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
			t.Errorf("drained after %v", time.Since(start))
		}
		b.close()
	})
}

func TestMoveTaskKeepsItsRateAndCanBeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "")
		defer b.close()
		dlq := b.queue("dlq", nil)
		q := b.queue("q", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + b.s.arn("dlq") + `","maxReceiveCount":1}`})
		for i := range 100 {
			b.send(dlq, fmt.Sprint(i))
		}
		rate := int32(10)
		started, err := b.s.startMove(b.c, &startMoveInput{SourceArn: b.s.arn("dlq"), DestinationArn: b.s.arn("q"), MaxNumberOfMessagesPerSecond: &rate})
		task := must(t, started, err).TaskHandle
		if _, err := b.s.startMove(b.c, &startMoveInput{SourceArn: b.s.arn("dlq")}); err == nil {
			t.Error("a second task was accepted")
		}
		time.Sleep(4*time.Second + 50*time.Millisecond)
		cancelled, err := b.s.cancelMove(b.c, &cancelMoveInput{TaskHandle: task})
		if n := must(t, cancelled, err).ApproximateNumberOfMessagesMoved; n != 41 {
			t.Errorf("moved %d in four seconds at ten a second", n)
		}
		synctest.Wait()
		list, err := b.s.listMoves(b.c, &listMovesInput{SourceArn: b.s.arn("dlq")})
		if r := must(t, list, err).Results; len(r) != 1 || r[0].Status != "CANCELLED" {
			t.Errorf("tasks %+v", r)
		}
		if b.counts(q) != "41/0/0" || b.counts(dlq) != "59/0/0" {
			t.Errorf("queue %s, dead letters %s", b.counts(q), b.counts(dlq))
		}
	})
}

func TestReopenKeepsQueuesAndMessages(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	dlq := b.queue("dlq", nil)
	q := b.queue("q", map[string]string{"VisibilityTimeout": "600", "RedrivePolicy": `{"deadLetterTargetArn":"` + b.s.arn("dlq") + `","maxReceiveCount":1}`})
	gone := b.queue("gone", nil)
	b.send(gone, "x")
	must(t, must2(b.s.deleteQueue(b.c, &queueURLInput{gone})), nil)

	attrs := messageAttributes{"k": {DataType: "String", StringValue: "v"}, "b": {DataType: "Binary", BinaryValue: []byte{1}}}
	if _, err := b.s.sendMessage(b.c, &sendInput{QueueUrl: q, MessageBody: "dies", MessageAttributes: attrs}); err != nil {
		t.Fatal(err)
	}
	m := b.receive(q, 0)[0]
	zero := int32(0)
	if _, err := b.s.changeVisibility(b.c, &changeInput{QueueUrl: q, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: &zero}); err != nil {
		t.Fatal(err)
	}
	b.receive(q, 0) // moves it
	b.send(q, "in flight")
	handle := b.receive(q, 0)[0].ReceiptHandle
	for i := range 2_000 { // makes the journal compact several times
		b.send(q, fmt.Sprint(i))
		got := b.receive(q, 0)
		if len(got) != 1 {
			t.Fatalf("received %d", len(got))
		}
		if _, err := b.s.deleteMessage(b.c, &deleteInput{q, got[0].ReceiptHandle}); err != nil {
			t.Fatal(err)
		}
	}
	b.send(q, "waits")
	b.close()

	b = open(t, dir)
	defer b.close()
	if got := b.counts(q); got != "1/1/0" {
		t.Errorf("queue %s", got)
	}
	if _, err := b.s.getQueueURL(b.c, &getQueueURLInput{QueueName: "gone"}); err == nil {
		t.Error("deleted queue is back")
	}
	dead := b.receive(dlq, 0)
	if len(dead) != 1 || dead[0].Body != "dies" || dead[0].MD5OfMessageAttributes != m.MD5OfMessageAttributes || dead[0].Attributes["DeadLetterQueueSourceArn"] != b.s.arn("q") {
		t.Errorf("dead letters %+v", dead)
	}
	if _, err := b.s.deleteMessage(b.c, &deleteInput{q, handle}); err != nil {
		t.Errorf("handle from before: %v", err)
	}
	if got := b.counts(q); got != "1/0/0" {
		t.Errorf("queue after delete %s", got)
	}
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func FuzzReplayNeverPanics(f *testing.F) {
	f.Add([]byte("M"))
	f.Add([]byte(`Q{"Name":"q","ID":1}`))
	f.Fuzz(func(_ *testing.T, record []byte) {
		s := &Service{queues: map[string]*queue{}}
		_ = newReplay(s).record(record)
	})
}
