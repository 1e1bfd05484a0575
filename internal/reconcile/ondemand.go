package reconcile

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Reconciliation is a run that somebody asked for.
type Reconciliation struct {
	Report

	Running   bool      `json:"running" doc:"Whether it goes on; the counts are as far as it has got."`
	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	Error     string    `json:"error,omitempty" doc:"Why it did not finish."`
}

// OnDemand runs a Reconciler when somebody asks, one run at a time, for as long
// as it takes.
type OnDemand struct {
	reconciler Reconciler
	asked      chan struct{}

	mu     sync.Mutex
	latest Reconciliation
	ended  chan struct{} // closed at the end of the run that goes on
}

// NewOnDemand makes one; Run must be running for it to do anything.
func NewOnDemand(r Reconciler) *OnDemand {
	return &OnDemand{reconciler: r, asked: make(chan struct{}, 1), latest: Reconciliation{Report: Report{Findings: []Finding{}}}}
}

// Run does what is asked for until ctx ends.
func (d *OnDemand) Run(ctx context.Context) error {
	defer d.end(nil, errors.New("this process ends"))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.asked:
		}
		r := d.reconciler
		r.progress = func(rep Report) { d.update(func(now *Reconciliation) { now.Report = rep }) }
		rep, err := r.Once(ctx)
		r.log(rep, err)
		d.end(&rep, err)
	}
}

func (d *OnDemand) end(rep *Report, err error) {
	d.update(func(now *Reconciliation) {
		if !now.Running {
			return
		}
		now.Running, now.EndedAt = false, time.Now().UTC()
		if rep != nil {
			now.Report = *rep
		}
		if err != nil {
			now.Error = err.Error()
		}
		close(d.ended)
	})
}

func (d *OnDemand) update(f func(*Reconciliation)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.latest)
}

// Ask begins a run, unless one goes on, and returns a channel that is closed
// when it has ended.
func (d *OnDemand) Ask() (ended <-chan struct{}) {
	d.update(func(now *Reconciliation) {
		if !now.Running {
			*now = Reconciliation{Report: Report{Findings: []Finding{}}, Running: true, StartedAt: time.Now().UTC()}
			d.ended = make(chan struct{})
			d.asked <- struct{}{} // there is room: none is asked for while one goes on
		}
		ended = d.ended
	})
	return ended
}

// Latest is the run that goes on, or else the last one.
func (d *OnDemand) Latest() Reconciliation {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.latest
}
