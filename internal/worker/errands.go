package worker

import (
	"context"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// errands are what the API still has to do after it has answered: telling
// sagas that no worker runs just now. They live in memory. What was decided is
// in the orders table, and the reconciler tells it, too; it is only slower.
type errands struct {
	logger zerolog.Logger
	queue  chan errand
}

type errand struct {
	what string
	run  func(context.Context) error
	till time.Time
}

const (
	// errandsTime is ample for an autoscaler to bring a worker.
	errandsTime  = 10 * time.Minute
	errandsPause = time.Second
	errandsLimit = 1000 // waiting to be run
	errandsOnce  = 32   // at a time
)

func newErrands(l zerolog.Logger) errands {
	return errands{l, make(chan errand, errandsLimit)}
}

// Later is for api.Options.
func (e errands) Later(what string, run func(context.Context) error) {
	e.put(errand{what, run, time.Now().Add(errandsTime)})
}

func (e errands) put(x errand) {
	select {
	case e.queue <- x:
	default:
		e.logger.Warn().Str("errand", x.what).Msg("there are too many; the reconciler does it")
	}
}

// Run runs errands until ctx ends. One that fails goes to the end of the queue.
func (e errands) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for range errandsOnce {
		g.Go(func() error {
			for {
				select {
				case <-gctx.Done():
					return nil
				case x := <-e.queue:
					e.one(gctx, x)
				}
			}
		})
	}
	return g.Wait()
}

func (e errands) one(ctx context.Context, x errand) {
	err := x.run(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
		return
	case time.Now().After(x.till):
		e.logger.Warn().Err(err).Str("errand", x.what).Msg("given up; the reconciler does it")
		return
	}
	pause := time.NewTimer(errandsPause)
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
		e.put(x)
	}
}
