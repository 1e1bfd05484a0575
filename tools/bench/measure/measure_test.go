package measure_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/ordersaga/ordersaga/tools/bench/measure"
)

func TestWarmUpIsNotCounted(t *testing.T) {
	t.Parallel()
	var ran atomic.Int64
	saga := func(context.Context, string) error {
		ran.Add(1)
		return nil
	}
	m, err := measure.Run(t.Context(), saga, measure.Plan{InFlight: 4, WarmUp: 10, Sagas: 20})
	if err != nil || len(m.Took) != 20 || ran.Load() < 30 {
		t.Errorf("Run = %d sagas counted of %d, %v, want 20 counted of at least 30", len(m.Took), ran.Load(), err)
	}
}

func TestFailedSagaEndsTheMeasurement(t *testing.T) {
	t.Parallel()
	cause := errors.New("no such table")
	saga := func(context.Context, string) error { return cause }
	if _, err := measure.Run(t.Context(), saga, measure.Plan{InFlight: 2, WarmUp: 1, Sagas: 1}); !errors.Is(err, cause) {
		t.Errorf("Run = %v, want %v", err, cause)
	}
}
