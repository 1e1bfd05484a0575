package payment

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Breaker leaves a provider alone that is down. Only failures count: a decline
// is an answer, and as good a sign of life as a charge.
type Breaker struct {
	Failures uint32        // in a row, after which calls are refused; 0: never
	Open     time.Duration // how long they are; then a few are let through to see whether it is up again
}

// probes are let through at a time while it is unclear whether the provider is
// up again.
const probes = 2

// breaker returns one for one kind of call. Charges and refunds have one each,
// for a provider may do the one and not the other.
func (b Breaker) breaker(name string) *gobreaker.CircuitBreaker[struct{}] {
	if b.Failures == 0 {
		return nil
	}
	return gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: probes, Timeout: b.Open, IsSuccessful: answered,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= b.Failures },
	})
}

// guarded makes a call unless the breaker is open.
func guarded(b *gobreaker.CircuitBreaker[struct{}], call func() error) error {
	if b == nil {
		return call()
	}
	_, err := b.Execute(func() (struct{}, error) { return struct{}{}, call() })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return fmt.Errorf("the provider fails and is left alone for a moment: %w", err)
	}
	return err
}

// answered reports whether the provider has dealt with a call, whatever it said.
// What does not prove to be its word is a failure: whoever answers so is not
// working, and may not even be the provider.
func answered(err error) bool {
	if _, declined := errors.AsType[*Declined](err); err == nil || declined || errors.Is(err, ErrVoided) {
		return true
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.Code != "" && r.status >= 400 && r.status < 500 &&
			r.status != http.StatusTooManyRequests && r.status != http.StatusRequestTimeout
	}
	return errors.Is(err, context.Canceled) // it was us who did not wait
}
