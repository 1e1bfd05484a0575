// Package backoff waits between two attempts.
package backoff

import (
	"context"
	"time"
)

// Sleep waits for d and returns nil. If ctx ends first it returns ctx's error at once. It
// returns ctx's error too if ctx has ended already, whatever d is.
func Sleep(ctx context.Context, d time.Duration) error {
	err := ctx.Err()
	if err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
