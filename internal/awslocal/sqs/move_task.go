package sqs

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// maxListedTasks is the number of tasks of one source that are kept; AWS lists at most
// ten.
const maxListedTasks = 10

// moveTask moves the messages of a dead-letter queue; see
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
type moveTask struct {
	handle  string
	source  *queue
	dest    *queue // nil moves each message to the queue that dead-lettered it
	rate    int    // messages per second; 0 means no limit
	started time.Time
	cancel  context.CancelFunc

	mu     sync.Mutex // guards the fields below
	status string     // RUNNING, COMPLETED, CANCELLING, CANCELLED, FAILED
	reason string     // why the task failed
	moved  int64
	toMove int64
}

func (s *Service) startMove(_ *call, in *startMoveInput) (*startMoveOutput, error) {
	if in.SourceArn == "" {
		return nil, errMissing("SourceArn")
	}
	source := s.byARN(in.SourceArn)
	if source == nil {
		return nil, errResourceNotFound("The resource that you specified for the SourceArn parameter doesn't exist.")
	}
	if !s.isDeadLetterQueue(source) {
		return nil, errInvalidValue(in.SourceArn, "SourceArn", "Source queue must be configured as a Dead Letter Queue.")
	}
	rate, err := intParameter(in.MaxNumberOfMessagesPerSecond, 0, 1, maxMoveRate, "MaxNumberOfMessagesPerSecond")
	if err != nil {
		return nil, err
	}
	t := &moveTask{source: source, rate: rate, started: time.Now(), status: "RUNNING"}
	if in.DestinationArn != "" {
		t.dest = s.byARN(in.DestinationArn)
		if t.dest == nil {
			return nil, errResourceNotFound("The resource that you specified for the DestinationArn parameter doesn't exist.")
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
	case <-s.draining:
		cancel()
		return nil, &wire.Error{
			Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: "The local endpoint is closing.", Server: true,
		}
	default:
	}
	others := 0
	for _, o := range s.tasks {
		if o.source != source {
			continue
		}
		if o.active() {
			cancel()
			return nil, errUnsupported(
				"There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
		}
		others++
	}
	if others >= maxListedTasks {
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
	return &startMoveOutput{TaskHandle: t.handle}, nil
}

// isDeadLetterQueue reports whether a redrive policy names q.
func (s *Service) isDeadLetterQueue(q *queue) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, o := range s.queues {
		if r := o.settings.Load().redrive; r != nil && r.target == q.arn {
			return true
		}
	}
	return false
}

func errResourceNotFound(message string) *wire.Error {
	return &wire.Error{
		Status: http.StatusNotFound, Shape: shape + "ResourceNotFoundException", Code: "ResourceNotFoundException", Message: message,
	}
}

// active reports whether the task has not ended.
func (t *moveTask) active() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status == "RUNNING" || t.status == "CANCELLING"
}

// run moves as many messages as were visible when the task started.
func (t *moveTask) run(ctx context.Context, s *Service) {
	var tick <-chan time.Time
	if t.rate > 0 {
		ticker := time.NewTicker(time.Second / time.Duration(t.rate))
		defer ticker.Stop()
		tick = ticker.C
	}
	for t.moved < t.toMove { // read without mu: no other goroutine writes moved
		select {
		case <-ctx.Done():
			t.finish("CANCELLED", "")
			return
		case <-s.draining:
			t.finish("CANCELLED", "")
			return
		default:
		}
		ok, reason := t.moveOne(ctx, s)
		if reason != "" {
			t.finish("FAILED", reason)
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
			case <-s.draining:
			}
		}
	}
	t.finish("COMPLETED", "")
}

// finish records the task's final status.
func (t *moveTask) finish(status, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status, t.reason = status, reason
}

// moveOne moves the oldest visible message. Like AWS it sends it as a new message, with a
// new id and age and a receive count of zero. It returns false if the source is empty, and
// the reason if the message cannot be moved.
func (t *moveTask) moveOne(ctx context.Context, s *Service) (moved bool, reason string) {
	now := time.Now().UnixNano()
	q := t.source
	q.mu.Lock()
	q.advance(now)
	old := q.ready.head
	for old != nil && q.expired(old, now) {
		q.remove(old)
		s.append(deletedRecord(old.id))
		old = q.ready.head
	}
	if old == nil || q.deleted {
		q.mu.Unlock()
		return false, ""
	}
	source := old.source
	q.detach(old)
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
		if !dest.deleted {
			dest.add(m, now)
			s.append(messageRecord(dest, m, &old.id))
			dest.wakePolls(now)
			dest.mu.Unlock()
			if err := s.log.WaitAll(context.WithoutCancel(ctx)); err != nil { // a cancelled task has moved it too
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
		return &cancelMoveOutput{ApproximateNumberOfMessagesMoved: t.moved}, nil
	}
	return nil, errResourceNotFound("Task does not exist.")
}

func (s *Service) listMoves(_ *call, in *listMovesInput) (*listMovesOutput, error) {
	if in.SourceArn == "" {
		return nil, errMissing("SourceArn")
	}
	source := s.byARN(in.SourceArn)
	if source == nil {
		return nil, errResourceNotFound("The resource that you specified for the SourceArn parameter doesn't exist.")
	}
	n, err := intParameter(in.MaxResults, 1, 1, maxListedTasks, "MaxResults")
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

// result returns the task as ListMessageMoveTasks returns it.
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
		r.TaskHandle = t.handle // AWS returns it only while the task can be cancelled
	}
	return r
}
