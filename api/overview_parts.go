package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/order"
)

// part is a part of the overview that is read on its own.
type part struct {
	name string
	read func(ctx context.Context) error // leaves the overview unchanged if it fails
}

// partTimeout is how long the other parts wait for one.
const partTimeout = 4 * time.Second

// readParts reads the parts at the same time and returns the names of those that cannot be
// read. It returns an error if all of them fail, or if ctx ends.
func readParts(ctx context.Context, parts ...part) (unknown []string, err error) {
	faults := make([]error, len(parts))
	var all sync.WaitGroup
	for i, p := range parts {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, partTimeout)
			defer cancel()
			if err := p.read(ctx); err != nil {
				faults[i] = fmt.Errorf("read %s: %w", p.name, err)
			}
		})
	}
	all.Wait()
	for i, err := range faults {
		if err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Msg("a part of the overview cannot be read")
			unknown = append(unknown, parts[i].name)
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("read the overview: %w", ctx.Err())
	}
	if len(unknown) == len(parts) {
		return nil, errors.Join(faults...)
	}
	return unknown, nil
}

// set returns a read that replaces one value, and keeps the old one if it fails.
func set[T any](to *T, read func(ctx context.Context) (T, error)) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		v, err := read(ctx)
		if err == nil {
			*to = v
		}
		return err
	}
}

// emptyOverview is an overview before the first read.
func emptyOverview() Overview {
	return Overview{
		Live: map[order.Status]int{}, Ended: map[order.Status]Count{}, Queues: []Queue{}, Workers: []Worker{}, Low: []Level{},
		Recent: Recent{
			Ended: map[order.Status]int{}, Starts: []float64{}, Ends: []float64{},
			EndsByStatus: map[order.Status][]float64{}, Latency: []LatencyBucket{},
		},
		Unknown: []string{},
	}
}
