package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/deadletter"
)

// letters gives the API the dead-letter queues.
type letters struct {
	client deadletter.SQS
	pairs  []deadletter.Pair
}

func lettersOf(c *cloud.Clients, r cloud.Resources) letters {
	l := letters{client: c.SQS}
	for _, q := range r.Queues() {
		l.pairs = append(l.pairs, deadletter.Pair{Name: q.Name, URL: q.URL, DeadURL: q.DeadURL})
	}
	return l
}

func (l letters) pair(name string) (deadletter.Pair, error) {
	for _, p := range l.pairs {
		if p.Name == name {
			return p, nil
		}
	}
	return deadletter.Pair{}, fmt.Errorf("queue %s: %w", name, errors.ErrUnsupported)
}

// Queues implements api.DeadLetters.
func (l letters) Queues(ctx context.Context) (all []api.Queue, err error) {
	for _, p := range l.pairs {
		live, dead, err := p.Depths(ctx, l.client)
		if err != nil {
			return nil, err
		}
		all = append(all, api.Queue{Name: p.Name, Visible: live.Visible, InFlight: live.InFlight, Dead: dead.Visible + dead.InFlight})
	}
	return all, nil
}

// List implements api.DeadLetters.
func (l letters) List(ctx context.Context, queue string, limit int) ([]deadletter.Message, error) {
	p, err := l.pair(queue)
	if err != nil {
		return nil, err
	}
	return p.List(ctx, l.client, limit)
}

// Redrive implements api.DeadLetters.
func (l letters) Redrive(ctx context.Context, queue, id string, body *string) error {
	p, err := l.pair(queue)
	if err != nil {
		return err
	}
	return p.Redrive(ctx, l.client, id, body)
}

// Delete implements api.DeadLetters.
func (l letters) Delete(ctx context.Context, queue, id string) error {
	p, err := l.pair(queue)
	if err != nil {
		return err
	}
	return p.Delete(ctx, l.client, id)
}

// RedriveAll implements api.DeadLetters.
func (l letters) RedriveAll(ctx context.Context, queue string, perSecond float64) (int, error) {
	p, err := l.pair(queue)
	if err != nil {
		return 0, err
	}
	return p.RedriveAll(ctx, l.client, perSecond)
}

// Forget implements api.DeadLetters.
func (l letters) Forget(ctx context.Context, such func(deadletter.Message) bool) (total int, err error) {
	for _, p := range l.pairs {
		n, err := p.Forget(ctx, l.client, such)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
