package payment

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Breaker configures circuit breakers: they stop requests to a provider that is down. A
// decline is not a failure. The zero value disables them.
type Breaker struct {
	Failures uint32        // consecutive failures that open a breaker; 0 disables it
	Open     time.Duration // how long a breaker stays open before it lets probes through
}

// probes is the number of concurrent requests that a half-open breaker lets through.
const probes = 2

// breaker returns a circuit breaker, or nil if they are disabled. Charges and refunds have one
// each: a provider may be able to do only one of them.
func (b Breaker) breaker(name string) *gobreaker.CircuitBreaker[struct{}] {
	if b.Failures == 0 {
		return nil
	}
	return gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: probes, Timeout: b.Open, IsSuccessful: providerIsUp,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= b.Failures },
	})
}

// guarded calls call unless the breaker is open. b may be nil.
func guarded(b *gobreaker.CircuitBreaker[struct{}], call func() error) error {
	if b == nil {
		return call()
	}
	_, err := b.Execute(func() (struct{}, error) { return struct{}{}, call() })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return fmt.Errorf("the provider keeps failing, and the circuit breaker rejects requests: %w", err)
	}
	return err
}

// providerIsUp reports whether the provider has processed a request, with any result. A
// response that does not prove itself is a failure: its sender is broken, and may not be the
// provider.
func providerIsUp(err error) bool {
	if _, declined := errors.AsType[*DeclinedError](err); err == nil || declined || errors.Is(err, ErrVoided) {
		return true
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.Code != "" && r.status >= 400 && r.status < 500 &&
			r.status != http.StatusTooManyRequests && r.status != http.StatusRequestTimeout
	}
	return errors.Is(err, context.Canceled) // the caller cancelled the request
}
