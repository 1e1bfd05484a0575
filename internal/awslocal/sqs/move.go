package sqs

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// keepTasks is how many tasks of a source are listed: AWS lists ten at most.
const keepTasks = 10

// moveTask redrives a dead-letter queue, see
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
type moveTask struct {
	handle  string
	source  *queue
	dest    *queue // nil: each message to the queue it came from
	rate    int    // messages a second; 0: as fast as possible
	started time.Time
	cancel  context.CancelFunc

	mu     sync.Mutex
	status string // RUNNING, COMPLETED, CANCELLING, CANCELLED, FAILED
	reason string
	moved  int64
	toMove int64
}

func (s *Service) startMove(_ *call, in *startMoveInput) (*startMoveOutput, error) {
	if in.SourceArn == "" {
		return nil, errMissing("SourceArn")
	}
	source := s.byARN(in.SourceArn)
	if source == nil {
		return nil, errNoResource("The resource that you specified for the SourceArn parameter doesn't exist.")
	}
	if !s.isDeadLetterQueue(source) {
		return nil, errValue(in.SourceArn, "SourceArn", "Source queue must be configured as a Dead Letter Queue.")
	}
	rate, err := within(in.MaxNumberOfMessagesPerSecond, 0, 1, maxMoveRate, "MaxNumberOfMessagesPerSecond")
	if err != nil {
		return nil, err
	}
	t := &moveTask{source: source, rate: rate, started: time.Now(), status: "RUNNING"}
	if in.DestinationArn != "" {
		if t.dest = s.byARN(in.DestinationArn); t.dest == nil {
			return nil, errNoResource("The resource that you specified for the DestinationArn parameter doesn't exist.")
		}
	}
	//nolint:errchkjson // strings always marshal
	handle, _ := json.Marshal(map[string]string{"taskId": uuid.NewString(), "sourceArn": source.arn})
	t.handle = base64.StdEncoding.EncodeToString(handle)
	now := t.started.UnixNano()
	source.mu.Lock()
	source.advance(now)
	t.toMove = int64(source.counts[visible])
	source.mu.Unlock()

	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		cancel()
		return nil, &wire.Error{Status: 503, Code: "ServiceUnavailable", Message: "The local endpoint is closing.", Server: true}
	default:
	}
	others := 0
	for _, o := range s.tasks {
		if o.source != source {
			continue
		}
		if o.active() {
			cancel()
			return nil, errUnsupported("There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
		}
		others++
	}
	if others >= keepTasks {
		i := len(s.tasks) - 1
		for s.tasks[i].source != source {
			i--
		}
		s.tasks = slices.Delete(s.tasks, i, i+1)
	}
	s.tasks = slices.Insert(s.tasks, 0, t)
	s.background.Go(func() {
		defer cancel()
		t.run(ctx, s)
	})
	return &startMoveOutput{t.handle}, nil
}

func (s *Service) isDeadLetterQueue(q *queue) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, o := range s.queues {
		if r := o.set.Load().redrive; r != nil && r.target == q.arn {
			return true
		}
	}
	return false
}

func errNoResource(message string) *wire.Error {
	return &wire.Error{Status: 404, Shape: shape + "ResourceNotFoundException", Code: "ResourceNotFoundException", Message: message}
}

func (t *moveTask) active() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status == "RUNNING" || t.status == "CANCELLING"
}

// run moves what was visible when the task started.
func (t *moveTask) run(ctx context.Context, s *Service) {
	var tick <-chan time.Time
	if t.rate > 0 {
		ticker := time.NewTicker(time.Second / time.Duration(t.rate))
		defer ticker.Stop()
		tick = ticker.C
	}
	for t.moved < t.toMove { // only run changes moved
		select {
		case <-ctx.Done():
			t.end("CANCELLED", "")
			return
		case <-s.done:
			t.end("CANCELLED", "")
			return
		default:
		}
		ok, reason := t.one(s)
		if reason != "" {
			t.end("FAILED", reason)
			return
		}
		if !ok {
			break
		}
		t.mu.Lock()
		t.moved++
		t.mu.Unlock()
		if tick != nil && t.moved < t.toMove {
			select {
			case <-tick:
			case <-ctx.Done():
			case <-s.done:
			}
		}
	}
	t.end("COMPLETED", "")
}

func (t *moveTask) end(status, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status, t.reason = status, reason
}

// one moves the oldest visible message. Like AWS it makes a new message of it:
// new id, new age, receive count zero.
func (t *moveTask) one(s *Service) (moved bool, reason string) {
	now := time.Now().UnixNano()
	q := t.source
	q.mu.Lock()
	q.advance(now)
	old := q.ready.head
	for old != nil && q.expired(old, now) {
		q.drop(old)
		s.append(goneRecord(old.id))
		old = q.ready.head
	}
	if old == nil || q.gone {
		q.mu.Unlock()
		return false, ""
	}
	source := old.source
	q.lift(old)
	delete(q.msgs, old.id)
	q.mu.Unlock()

	dest := t.dest
	if dest == nil {
		dest = s.byARN(source)
	}
	reason = "CouldNotDetermineMessageSource"
	if dest != nil {
		m := newMessage(old.body, old.attrs)
		m.trace, m.group, m.sent = old.trace, old.group, now
		dest.mu.Lock()
		if !dest.gone {
			dest.add(m, now)
			commit := s.append(putRecord(dest, m, &old.id))
			dest.wakeUp(now)
			dest.mu.Unlock()
			if err := commit.Wait(); err != nil {
				return false, err.Error()
			}
			return true, ""
		}
		dest.mu.Unlock()
		reason = "AWS.SimpleQueueService.NonExistentQueue"
	}
	old.due = 0
	s.move(q, old)
	return false, reason
}

func (s *Service) cancelMove(_ *call, in *cancelMoveInput) (*cancelMoveOutput, error) {
	if in.TaskHandle == "" {
		return nil, errMissing("TaskHandle")
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, t := range s.tasks {
		if t.handle != in.TaskHandle {
			continue
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.status != "RUNNING" {
			return nil, errUnsupported("Only active tasks can be cancelled.")
		}
		t.status = "CANCELLING"
		t.cancel()
		return &cancelMoveOutput{t.moved}, nil
	}
	return nil, errNoResource("Task does not exist.")
}

func (s *Service) listMoves(_ *call, in *listMovesInput) (*listMovesOutput, error) {
	if in.SourceArn == "" {
		return nil, errMissing("SourceArn")
	}
	source := s.byARN(in.SourceArn)
	if source == nil {
		return nil, errNoResource("The resource that you specified for the SourceArn parameter doesn't exist.")
	}
	n, err := within(in.MaxResults, 1, 1, keepTasks, "MaxResults")
	if err != nil {
		return nil, err
	}
	out := &listMovesOutput{Results: []moveResult{}}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, t := range s.tasks {
		if t.source == source && len(out.Results) < n {
			out.Results = append(out.Results, t.result())
		}
	}
	return out, nil
}

func (t *moveTask) result() moveResult {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := moveResult{
		Status: t.status, SourceArn: t.source.arn, MaxNumberOfMessagesPerSecond: int32(t.rate),
		ApproximateNumberOfMessagesMoved: t.moved, ApproximateNumberOfMessagesToMove: t.toMove,
		FailureReason: t.reason, StartedTimestamp: t.started.UnixMilli(),
	}
	if t.dest != nil {
		r.DestinationArn = t.dest.arn
	}
	if t.status == "RUNNING" {
		r.TaskHandle = t.handle // AWS gives it only while it can be used
	}
	return r
}
