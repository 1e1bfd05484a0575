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

// part is something that the overview is made of.
type part struct {
	name string
	read func(ctx context.Context) error // leaves the overview as it was if it fails
}

// partTime bounds how long others wait for a part.
const partTime = 4 * time.Second

// readParts reads them at the same time and names those that cannot be read. It
// is an error if that is all of them, or if nobody waits any more.
func readParts(ctx context.Context, parts ...part) (unknown []string, err error) {
	faults := make([]error, len(parts))
	var all sync.WaitGroup
	for i, p := range parts {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, partTime)
			defer cancel()
			if err := p.read(ctx); err != nil {
				faults[i] = fmt.Errorf("read %s: %w", p.name, err)
			}
		})
	}
	all.Wait()
	for i, err := range faults {
		if err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Msg("the overview lacks a part")
			unknown = append(unknown, parts[i].name)
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("read how things stand: %w", ctx.Err())
	}
	if len(unknown) == len(parts) {
		return nil, errors.Join(faults...)
	}
	return unknown, nil
}

// set reads one value, and keeps what was there if it cannot be read.
func set[T any](to *T, read func(ctx context.Context) (T, error)) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		v, err := read(ctx)
		if err == nil {
			*to = v
		}
		return err
	}
}

// unread is an overview of which nothing was read yet.
func unread() Overview {
	return Overview{
		Live: map[order.Status]int{}, Ended: map[order.Status]Count{}, Queues: []Queue{}, Workers: []Worker{}, Low: []Level{},
		Recent: Recent{
			Ended: map[order.Status]int{}, Starts: []float64{}, Ends: []float64{},
			EndsByStatus: map[order.Status][]float64{}, Latency: []LatencyBucket{},
		},
		Unknown: []string{},
	}
}
