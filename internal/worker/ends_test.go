package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestEndsWithin(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	ctx, stop := context.WithCancel(t.Context())
	broken := errors.New("broken")
	if err := endsWithin(ctx, time.Nanosecond, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("ended by itself: %v", err)
	}
	stop()
	if err := endsWithin(ctx, time.Minute, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("ended in time: %v", err)
	}
	err := endsWithin(ctx, time.Millisecond, func() error { <-over; return nil })
	if err == nil || !strings.Contains(err.Error(), "has not ended within 1ms") {
		t.Errorf("hangs: %v", err)
	}
}
