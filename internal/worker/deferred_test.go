package worker

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func TestDeferredTasksAreRetriedUntilTheirDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := newDeferredTasks(zerolog.New(&log))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = d.Run(ctx) }) // never fails
		began, tries := time.Now(), 0
		done := make(chan time.Duration)
		d.Add("a", func(context.Context) error {
			tries++
			if tries < 4 {
				return errors.New("no worker")
			}
			done <- time.Since(began)
			return nil
		})
		if took := <-done; took != 3*deferredPause {
			t.Errorf("succeeded after %s, want %s", took, 3*deferredPause)
		}
		hopeless := 0
		d.Add("b", func(context.Context) error {
			hopeless++
			return errors.New("no worker")
		})
		time.Sleep(deferredTimeout + 2*deferredPause)
		synctest.Wait()
		atDeadline := hopeless
		time.Sleep(time.Hour)
		if hopeless != atDeadline || !strings.Contains(log.String(), `"task":"b"`) {
			t.Errorf("%d attempts until the deadline and %d after it, want none after it and a warning; log: %s",
				atDeadline, hopeless-atDeadline, &log)
		}
		d.Add("c", func(ctx context.Context) error { // one that is stuck ends with the process
			<-ctx.Done()
			return ctx.Err()
		})
		synctest.Wait()
		stop()
		running.Wait()
	})
}
