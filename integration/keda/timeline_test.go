package keda

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/ordersaga/ordersaga/api"
)

// sample has the numbers of one moment. A number that could not be read is -1.
type sample struct {
	at                 time.Duration // since the start
	wanted, ready      int           // workers, from the Deployment
	visible, inFlight  int           // messages of the order queue
	work, live, asleep int           // sagas, from the API
}

// timeline samples the system every second, and divides the test into scenes. It is safe for
// concurrent use.
type timeline struct {
	e     *env
	began time.Time

	mu      sync.Mutex
	samples []sample
	scenes  []scene
	marks   []mark
}

// scene is a part of the test with its own picture.
type scene struct {
	name, title string
	from, to    time.Duration
}

// mark is an event that the picture shows.
type mark struct {
	at   time.Duration
	what string
}

// newTimeline starts to sample until the end of the test.
func newTimeline(e *env) *timeline {
	l := &timeline{e: e, began: time.Now()}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			s := l.sample(ctx)
			l.mu.Lock()
			l.samples = append(l.samples, s)
			l.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	e.t.Cleanup(func() { stop(); <-ended })
	return l
}

// sample reads all numbers.
func (l *timeline) sample(ctx context.Context) sample {
	s := sample{at: time.Since(l.began), wanted: -1, ready: -1, visible: -1, inFlight: -1, work: -1, live: -1, asleep: -1}
	var d struct {
		Spec   struct{ Replicas int }
		Status struct{ ReadyReplicas int }
	}
	if err := l.e.cluster.Get(ctx, workers, &d); err == nil {
		s.wanted, s.ready = d.Spec.Replicas, d.Status.ReadyReplicas
	}
	const (
		visible  = types.QueueAttributeNameApproximateNumberOfMessages
		inFlight = types.QueueAttributeNameApproximateNumberOfMessagesNotVisible
	)
	q, err := l.e.clients.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &l.e.resources.OrderQueue, AttributeNames: []types.QueueAttributeName{visible, inFlight},
	})
	if err == nil {
		s.visible, _ = strconv.Atoi(q.Attributes[string(visible)]) // SQS returns numbers
		s.inFlight, _ = strconv.Atoi(q.Attributes[string(inFlight)])
	}
	if load, err := l.e.load(ctx); err == nil {
		s.work, s.live, s.asleep = load.Work, load.Live, load.Asleep
	}
	return s
}

// load reads the backlog from the API, as KEDA does.
func (e *env) load(ctx context.Context) (l api.Backlog, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.apiURL+"/load", http.NoBody)
	if err != nil {
		return l, err
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return l, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	if res.StatusCode != http.StatusOK {
		return l, errors.New(res.Status)
	}
	return l, json.NewDecoder(res.Body).Decode(&l)
}

// last returns the latest sample.
func (l *timeline) last() sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.samples) == 0 {
		return sample{wanted: -1}
	}
	return l.samples[len(l.samples)-1]
}

// since returns the samples from a time on.
func (l *timeline) since(from time.Duration) []sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.samples {
		if s.at >= from {
			return append([]sample(nil), l.samples[i:]...)
		}
	}
	return nil
}

// now returns the time since the start.
func (l *timeline) now() time.Duration { return time.Since(l.began) }

// scene runs a scene as a subtest. If it fails, it stops the test: the next scene would start in
// the middle of this one.
func (l *timeline) scene(name, title string, run func(t *testing.T)) {
	l.e.t.Helper()
	from := l.now()
	ok := l.e.t.Run(name, run)
	l.mu.Lock()
	l.scenes = append(l.scenes, scene{name: name, title: title, from: from, to: l.now()})
	l.mu.Unlock()
	if !ok {
		l.e.t.FailNow()
	}
}

// mark records and logs an event.
func (l *timeline) mark(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = append(l.marks, mark{at: l.now(), what: what})
	l.e.t.Logf("%s %s", l.now().Round(time.Second), what)
}

// write writes autoscaling.csv and a picture of each scene into a directory.
func (l *timeline) write(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.Create(filepath.Join(dir, "autoscaling.csv"))
	if err != nil {
		return err
	}
	out := csv.NewWriter(f)
	_ = out.Write([]string{ // Error reports a failure
		"seconds", "scene", "workers wanted", "workers ready", "messages visible", "messages in flight",
		"sagas at work", "sagas live", "sagas asleep", "what was done",
	})
	next := 0
	for i, s := range l.samples {
		scene, done := "", ""
		for _, c := range l.scenes {
			if s.at >= c.from && s.at < c.to {
				scene = c.name
			}
		}
		for next < len(l.marks) && (i+1 == len(l.samples) || l.marks[next].at < l.samples[i+1].at) {
			if done != "" {
				done += "; "
			}
			done += l.marks[next].what
			next++
		}
		row := []string{fmt.Sprintf("%.0f", s.at.Seconds()), scene}
		for _, n := range []int{s.wanted, s.ready, s.visible, s.inFlight, s.work, s.live, s.asleep} {
			cell := ""
			if n >= 0 {
				cell = strconv.Itoa(n)
			}
			row = append(row, cell)
		}
		_ = out.Write(append(row, done)) // Error reports a failure
	}
	out.Flush()
	if err := errors.Join(out.Error(), f.Close()); err != nil {
		return err
	}
	for _, c := range l.scenes {
		var marks []mark
		for _, m := range l.marks {
			if m.at >= c.from && m.at < c.to {
				marks = append(marks, m)
			}
		}
		var samples []sample
		for _, s := range l.samples {
			if s.at >= c.from && s.at < c.to {
				samples = append(samples, s)
			}
		}
		file := filepath.Join(dir, "autoscaling-"+c.name+".svg")
		if err := os.WriteFile(file, []byte(picture(c, samples, marks)), 0o600); err != nil {
			return err
		}
	}
	return nil
}
