package dapr

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dapr/durabletask-go/api"

	"github.com/ordersaga/ordersaga/internal/backoff"
)

// Dapr 1.18.2 can corrupt a workflow's state so that it can be neither read nor
// purged: when two sidecars each consider the other gone, and both write it. Such
// an instance is treated as if it did not exist, and the id's next generation is
// an instance whose id is derived from it: a, a~2, a~3 …

// maxGenerations bounds how many generations an id has.
const maxGenerations = 5

// generationSuffix returns what follows the id in generation n, counted from 0;
// n must not be 0.
func generationSuffix(n int) string { return "~" + strconv.Itoa(n+1) }

// withoutGeneration returns the id of which an instance is a generation.
func withoutGeneration(id string) string {
	for n := 1; n < maxGenerations; n++ {
		if base, is := strings.CutSuffix(id, generationSuffix(n)); is {
			return base
		}
	}
	return id
}

// withGeneration calls f with the instance id of the first generation that is
// not corrupt. It repeats the call while that instance's actor is unreachable.
func withGeneration(ctx context.Context, id api.InstanceID, f func(api.InstanceID) error) (err error) {
	for n := range maxGenerations {
		instance := id
		if n > 0 {
			instance += api.InstanceID(generationSuffix(n))
		}
		err = retryCorrupt(ctx, func() error {
			return retryUnreachable(ctx, func() error { return f(instance) })
		})
		if err == nil || !corrupt(err) {
			return err
		}
	}
	return err
}

// retryCorrupt calls f again a few times while it reports corruption, which may
// be momentary: Dapr reads a workflow's parts one after the other while it
// changes. A second generation next to an intact first one would be worse.
func retryCorrupt(ctx context.Context, f func() error) (err error) {
	for attempt := range 5 {
		err = f()
		if err == nil || !corrupt(err) {
			return err
		}
		if backoff.Sleep(ctx, 20*time.Millisecond<<attempt) != nil {
			return err
		}
	}
	return err
}

// retryUnreachable calls f again while actors move between sidecars, for at most
// callTimeout.
func retryUnreachable(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := f()
		if err == nil || !unreachable(err) {
			return err
		}
		if late := backoff.Sleep(ctx, pause); late != nil {
			return fmt.Errorf("%w: %w", late, err)
		}
	}
}

// unreachable reports whether Dapr could not deliver a call to the workflow's
// actor. When a sidecar starts or stops it takes a moment until all of them
// have the new assignment of actors. Dapr 1.18.2 returns all of these errors but the last before
// the actor does anything. With the last, a start has not been stored; an event
// has, but wakes the saga only with the next event, so that it must be sent
// again.
//
// So an event may arrive twice. It also may when a connection breaks during a
// call and Dapr itself repeats it. Sagas tolerate that: a signal that no step
// waits for any more is dropped, and a resolution of an earlier park is discarded
// at the next (workflows/saga/signals.go). Suspending, resuming, terminating and
// purging are idempotent. A start also waits for the first step. If that wait
// fails the start is not repeated: the saga may have ended meanwhile, and would
// be started a second time.
func unreachable(err error) bool {
	text := err.Error()
	if strings.Contains(text, "failed to start workflow") && !strings.Contains(text, "failed to create workflow instance") {
		return false
	}
	return slices.ContainsFunc([]string{
		// pkg/actors/table/table.go: the sidecar has no worker any more, or not yet.
		"failed to create actor: actor type",
		// pkg/actors/router/router.go: as far as placement has reported, no sidecar has.
		"failed to lookup actor",
		// pkg/messages/predefined.go: the same, without the router's prefix.
		"did not find address for actor",
		// pkg/actors/router/router.go: two sidecars disagree about the owner.
		"remote actor moved",
		// pkg/actors/targets/workflow/common/lock/stallable.go: it is moving to another sidecar.
		"actor is closed, cannot handle lock",
		// pkg/actors/reminders/reminders.go: the worker disconnected while the actor worked.
		"only possible on hosted actor types",
	}, func(s string) bool { return strings.Contains(text, s) })
}

// corrupt reports whether Dapr could not read a workflow's state because a part
// of it is missing.
func corrupt(err error) bool {
	return strings.Contains(err.Error(), "declared in metadata") && strings.Contains(err.Error(), "missing from state store")
}
