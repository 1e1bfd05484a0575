package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestEndsWithinAbandonsWhatRunsTooLong(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	ctx, stop := context.WithCancel(t.Context())
	broken := errors.New("broken")
	if err := endsWithin(ctx, time.Nanosecond, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("without shutdown: error = %v, want %v", err, broken)
	}
	stop()
	if err := endsWithin(ctx, time.Minute, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("ended in time: error = %v, want %v", err, broken)
	}
	err := endsWithin(ctx, time.Millisecond, func() error { <-over; return nil })
	if err == nil || !strings.Contains(err.Error(), "has not ended within 1ms") {
		t.Errorf("too late: error = %v, want the timeout", err)
	}
}
