package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// TestSagaOfAnotherTableIsCountedAndLogged: the table of a saga beside the order saga
// changes while its first step is under way.
func TestSagaOfAnotherTableIsCountedAndLogged(t *testing.T) {
	type trip struct{}
	var changed atomic.Bool
	booking, booked := make(chan struct{}), make(chan struct{})
	register := func(r *task.TaskRegistry) error {
		require.NoError(t, r.AddActivityN("Book", saga.Do(func(context.Context, trip) (trip, error) {
			close(booking)
			<-booked
			return trip{}, nil
		})))
		return r.AddWorkflowN("Trip", func(ctx *task.WorkflowContext) (any, error) {
			policy := saga.Policy{First: 1, Max: 1, Factor: 1}
			second := saga.Step[trip]{Name: "pay", Do: "Pay", Retry: policy}
			if changed.Load() {
				second = saga.Step[trip]{Name: "insure", Do: "Insure", Retry: policy}
			}
			return saga.Saga[trip]{Steps: []saga.Step[trip]{{Name: "book", Do: "Book", Retry: policy}, second}}.Workflow(ctx)
		})
	}
	log := &lockedBuffer{}
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.Register, w.Logger = register, zerolog.New(log) }, nil)
	sagas := s.Worker.Parts().Engine
	require.NoError(t, sagas.Start(t.Context(), "Trip", "t", trip{}))
	<-booking
	changed.Store(true)
	close(booked)
	testkit.Eventually(t, "it is stalled", func() error {
		i, err := sagas.Get(t.Context(), "t")
		if err != nil || i.Status != engine.Stalled {
			return fmt.Errorf("%s %w", i.Status, err)
		}
		return nil
	})
	res, err := http.Get(s.API + "/metrics")
	require.NoError(t, err)
	metrics, err := io.ReadAll(res.Body)
	require.NoError(t, err, res.Body.Close())
	if want := "ordersaga_stalled_turns_total 1\n"; !strings.Contains(string(metrics), want) {
		t.Errorf("metrics = %s, want %s in them", metrics, want)
	}
	if got, want := log.String(), `"saga":"t","why":"step 2 is insure, was pay","message":"saga stalled: `; !strings.Contains(got, want) {
		t.Errorf("log = %s, want %s in it", got, want)
	}
}

// lockedBuffer is a buffer for concurrent use.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
