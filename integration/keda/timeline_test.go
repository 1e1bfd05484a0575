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

// sample is how things are at one moment. A number that nobody tells is -1.
type sample struct {
	at                 time.Duration // since the start
	wanted, ready      int           // workers, by the Deployment
	visible, inFlight  int           // messages
	work, live, asleep int           // sagas, as the API says it
}

// timeline is what is seen, every second, in scenes.
type timeline struct {
	w     *world
	began time.Time

	mu      sync.Mutex
	samples []sample
	scenes  []scene
	marks   []mark
}

type scene struct {
	name, title string
	from, to    time.Duration
}

// mark is something that the test did.
type mark struct {
	at   time.Duration
	what string
}

func newTimeline(w *world) *timeline {
	l := &timeline{w: w, began: time.Now()}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			s := l.look(ctx)
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
	w.t.Cleanup(func() { stop(); <-ended })
	return l
}

func (l *timeline) look(ctx context.Context) sample {
	s := sample{at: time.Since(l.began), wanted: -1, ready: -1, visible: -1, inFlight: -1, work: -1, live: -1, asleep: -1}
	var d struct {
		Spec   struct{ Replicas int }
		Status struct{ ReadyReplicas int }
	}
	if err := l.w.cluster.Get(ctx, workers, &d); err == nil {
		s.wanted, s.ready = d.Spec.Replicas, d.Status.ReadyReplicas
	}
	const visible, inFlight = types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible
	q, err := l.w.clients.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &l.w.resources.OrderQueue, AttributeNames: []types.QueueAttributeName{visible, inFlight},
	})
	if err == nil {
		s.visible, _ = strconv.Atoi(q.Attributes[string(visible)]) // SQS says numbers
		s.inFlight, _ = strconv.Atoi(q.Attributes[string(inFlight)])
	}
	if load, err := l.w.load(ctx); err == nil {
		s.work, s.live, s.asleep = load.Work, load.Live, load.Asleep
	}
	return s
}

// load asks the API what KEDA asks it.
func (w *world) load(ctx context.Context) (l api.Backlog, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.apiURL+"/load", http.NoBody)
	if err != nil {
		return l, err
	}
	res, err := plain.Do(req)
	if err != nil {
		return l, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	if res.StatusCode != http.StatusOK {
		return l, errors.New(res.Status)
	}
	return l, json.NewDecoder(res.Body).Decode(&l)
}

// last is the latest sample.
func (l *timeline) last() sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.samples) == 0 {
		return sample{wanted: -1}
	}
	return l.samples[len(l.samples)-1]
}

// since are the samples from a moment on.
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

func (l *timeline) now() time.Duration { return time.Since(l.began) }

// scene is a part of the test with a picture of its own.
func (l *timeline) scene(name, title string, play func(t *testing.T)) {
	l.w.t.Helper()
	from := l.now()
	ok := l.w.t.Run(name, play)
	l.mu.Lock()
	l.scenes = append(l.scenes, scene{name, title, from, l.now()})
	l.mu.Unlock()
	if !ok {
		l.w.t.FailNow() // the next would begin in the middle of this one
	}
}

func (l *timeline) mark(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = append(l.marks, mark{l.now(), what})
	l.w.t.Logf("%s %s", l.now().Round(time.Second), what)
}

// write writes autoscaling.csv, and a picture of each scene, into a folder.
func (l *timeline) write(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.Create(filepath.Join(dir, "autoscaling.csv"))
	if err != nil {
		return err
	}
	out := csv.NewWriter(f)
	_ = out.Write([]string{"seconds", "scene", "workers wanted", "workers ready", "messages visible", "messages in flight", "sagas at work", "sagas live", "sagas asleep", "what was done"})
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
			row = append(row, map[bool]string{true: "", false: strconv.Itoa(n)}[n < 0])
		}
		_ = out.Write(append(row, done)) // Flush tells
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
		if err := os.WriteFile(filepath.Join(dir, "autoscaling-"+c.name+".svg"), []byte(picture(c, samples, marks)), 0o600); err != nil {
			return err
		}
	}
	return nil
}
