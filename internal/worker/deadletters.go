package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/deadletter"
)

// deadLetters gives the API the dead-letter queues. It implements api.DeadLetters.
type deadLetters struct {
	client deadletter.SQS
	pairs  []deadletter.Pair
}

func newDeadLetters(c *cloud.Clients, r cloud.Resources) deadLetters {
	d := deadLetters{client: c.SQS}
	for _, q := range r.Queues() {
		d.pairs = append(d.pairs, deadletter.Pair{Name: q.Name, URL: q.URL, DeadURL: q.DeadURL})
	}
	return d
}

func (d deadLetters) pair(name string) (deadletter.Pair, error) {
	for _, p := range d.pairs {
		if p.Name == name {
			return p, nil
		}
	}
	return deadletter.Pair{}, fmt.Errorf("queue %s: %w", name, errors.ErrUnsupported)
}

// Queues implements api.DeadLetters.
func (d deadLetters) Queues(ctx context.Context) (all []api.Queue, err error) {
	for _, p := range d.pairs {
		live, dead, err := p.Depths(ctx, d.client)
		if err != nil {
			return nil, err
		}
		all = append(all, api.Queue{Name: p.Name, Visible: live.Visible, InFlight: live.InFlight, Dead: dead.Visible + dead.InFlight})
	}
	return all, nil
}

// List implements api.DeadLetters.
func (d deadLetters) List(ctx context.Context, queue string, limit int) ([]deadletter.Message, error) {
	p, err := d.pair(queue)
	if err != nil {
		return nil, err
	}
	return p.List(ctx, d.client, limit)
}

// Redrive implements api.DeadLetters.
func (d deadLetters) Redrive(ctx context.Context, queue, id string, body *string) error {
	p, err := d.pair(queue)
	if err != nil {
		return err
	}
	return p.Redrive(ctx, d.client, id, body)
}

// Delete implements api.DeadLetters.
func (d deadLetters) Delete(ctx context.Context, queue, id string) error {
	p, err := d.pair(queue)
	if err != nil {
		return err
	}
	return p.Delete(ctx, d.client, id)
}

// RedriveAll implements api.DeadLetters.
func (d deadLetters) RedriveAll(ctx context.Context, queue string, perSecond float64) (int, error) {
	p, err := d.pair(queue)
	if err != nil {
		return 0, err
	}
	return p.RedriveAll(ctx, d.client, perSecond)
}

// Forget implements api.DeadLetters.
func (d deadLetters) Forget(ctx context.Context, such func(deadletter.Message) bool) (total int, err error) {
	for _, p := range d.pairs {
		n, err := p.Forget(ctx, d.client, such)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
