package reconcile

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ordersaga/ordersaga/internal/text"
)

// Reconciliation is a requested run. The zero value means that none was requested.
type Reconciliation struct {
	Report

	Running   bool      `json:"running" doc:"Whether the run is in progress; the counts are those so far."`
	StartedAt time.Time `json:"startedAt,omitzero" doc:"When it started, RFC 3339. Absent if none was requested."`
	EndedAt   time.Time `json:"endedAt,omitzero" doc:"When it ended, RFC 3339. Absent while it runs."`
	Error     string    `json:"error,omitempty" doc:"Why it did not finish."`
}

// OnDemand runs a Reconciler on request, one run at a time, however long it takes. The
// zero value is not usable: call NewOnDemand. It is safe for concurrent use.
type OnDemand struct {
	reconciler Reconciler
	asked      chan *asked // at most the latest

	mu      sync.Mutex
	latest  *asked
	stopped bool
}

type asked struct {
	run   Reconciliation // under OnDemand.mu
	ended chan struct{}
}

// NewOnDemand returns one. It does nothing until its Run is called.
func NewOnDemand(r Reconciler) *OnDemand {
	return &OnDemand{
		reconciler: r, asked: make(chan *asked, 1),
		latest: &asked{run: Reconciliation{Report: Report{Findings: []Finding{}}}},
	}
}

// Run carries out requested runs until ctx ends.
func (d *OnDemand) Run(ctx context.Context) error {
	defer d.stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-d.asked:
			r := d.reconciler
			r.progress = func(rep Report) { d.update(func() { a.run.Report = rep }) }
			rep, err := r.Once(ctx)
			r.log(rep, err)
			d.update(func() { a.end(rep, err) })
		}
	}
}

var errStopped = errors.New("this process shuts down")

func (d *OnDemand) stop() {
	d.update(func() {
		d.stopped = true
		if d.latest.run.Running {
			d.latest.end(d.latest.run.Report, errStopped)
		}
	})
}

func (d *OnDemand) update(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (a *asked) end(rep Report, err error) {
	a.run.Report, a.run.Running, a.run.EndedAt = rep, false, time.Now().UTC()
	if err != nil {
		a.run.Error = text.Cut(err.Error(), text.Max)
	}
	close(a.ended)
}

// Ask requests a run, unless one is in progress. ended is closed when the run ends; now
// returns its state.
func (d *OnDemand) Ask() (ended <-chan struct{}, now func() Reconciliation) {
	var a *asked
	d.update(func() {
		a = d.latest
		if a.run.Running {
			return
		}
		a = &asked{
			run:   Reconciliation{Report: Report{Findings: []Finding{}}, Running: true, StartedAt: time.Now().UTC()},
			ended: make(chan struct{}),
		}
		d.latest = a
		if d.stopped {
			a.end(a.run.Report, errStopped)
			return
		}
		d.asked <- a // does not block: the run before has ended, so it was received
	})
	return a.ended, func() Reconciliation { return d.read(a) }
}

// Latest returns the run in progress, or else the last one.
func (d *OnDemand) Latest() Reconciliation { return d.read(nil) }

func (d *OnDemand) read(a *asked) (r Reconciliation) {
	d.update(func() {
		if a == nil {
			a = d.latest
		}
		r = a.run
	})
	return r
}
