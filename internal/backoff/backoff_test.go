package backoff_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/backoff"
)

func TestSleepEndsWithTheContext(t *testing.T) {
	t.Parallel()
	start := time.Now()
	if err := backoff.Sleep(t.Context(), 10*time.Millisecond); err != nil || time.Since(start) < 10*time.Millisecond {
		t.Errorf("Sleep = %v after %s, want nil after 10 ms", err, time.Since(start))
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	for range 2 { // the second time it has ended already
		if err := backoff.Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("Sleep with a context that ends = %v, want %v", err, context.Canceled)
		}
	}
	if err := backoff.Sleep(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Sleep of 0 with a context that has ended = %v, want %v", err, context.Canceled)
	}
}
