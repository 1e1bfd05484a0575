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

func TestErrands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := newErrands(zerolog.New(&log))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = e.Run(ctx) }) // never fails
		began, tries := time.Now(), 0
		done := make(chan time.Duration)
		e.Later("a", func(context.Context) error {
			if tries++; tries < 4 {
				return errors.New("nobody is there")
			}
			done <- time.Since(began)
			return nil
		})
		if took := <-done; took != 3*errandsPause {
			t.Errorf("told after %s", took)
		}
		hopeless := 0
		e.Later("b", func(context.Context) error {
			hopeless++
			return errors.New("nobody is there")
		})
		time.Sleep(errandsTime + 2*errandsPause)
		synctest.Wait()
		given := hopeless
		time.Sleep(time.Hour)
		if hopeless != given || !strings.Contains(log.String(), `"errand":"b"`) {
			t.Errorf("tried %d times, and then %d: %s", given, hopeless, &log)
		}
		e.Later("c", func(ctx context.Context) error { // one that hangs ends with the process
			<-ctx.Done()
			return ctx.Err()
		})
		synctest.Wait()
		stop()
		running.Wait()
	})
}
