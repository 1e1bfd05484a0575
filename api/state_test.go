package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// sources are the three sources of a saga. Each read waits until all three have begun,
// and then returns its error.
type sources struct {
	begun                               *sync.WaitGroup
	orderErr, engineErr, reservationErr error
}

func (s sources) wait(ctx context.Context) error {
	s.begun.Done()
	all := make(chan struct{})
	go func() {
		s.begun.Wait()
		close(all)
	}()
	select {
	case <-all:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("the other reads have not begun")
	case <-ctx.Done():
		return ctx.Err()
	}
}

type ordersSource struct {
	*orderstore.Store
	sources
}

func (s ordersSource) Get(ctx context.Context, id string) (orderstore.Record, error) {
	err := s.wait(ctx)
	if err != nil || s.orderErr != nil {
		return orderstore.Record{}, errors.Join(err, s.orderErr)
	}
	return s.Store.Get(ctx, id)
}

func (s ordersSource) GetReservation(ctx context.Context, id string) (orderstore.Reservation, error) {
	err := s.wait(ctx)
	if err != nil || s.reservationErr != nil {
		return orderstore.Reservation{}, errors.Join(err, s.reservationErr)
	}
	return s.Store.GetReservation(ctx, id)
}

type engineSource struct {
	engine.Engine
	sources
}

func (s engineSource) Get(ctx context.Context, _ string) (engine.Instance, error) {
	err := errors.Join(s.wait(ctx), s.engineErr)
	return engine.Instance{Status: engine.Running, CustomStatus: "charge"}, err
}

func TestGetSagaReadsItsThreeSourcesAtTheSameTime(t *testing.T) {
	t.Parallel()
	aws := testkit.NewAWS(t, nil)
	aws.SetStock(t, map[string]int64{"A": 10})
	o := mustParse(t, newOrder("o", nil))
	_, _, err := aws.Store.Accept(t.Context(), o)
	if err == nil {
		_, err = aws.Store.Reserve(t.Context(), o)
	}
	if err != nil {
		t.Fatalf("accept and reserve an order: %v", err)
	}
	fails := errors.New("broken")
	for name, c := range map[string]struct {
		orderErr, engineErr, reservationErr error

		want int
	}{
		"all three answer":                 {want: http.StatusOK},
		"no saga":                          {engineErr: engine.ErrNotFound, want: http.StatusOK},
		"no reservation":                   {reservationErr: orderstore.ErrNotFound, want: http.StatusOK},
		"no order":                         {orderErr: orderstore.ErrNotFound, engineErr: fails, want: http.StatusNotFound},
		"the engine is unreachable":        {engineErr: engine.ErrUnavailable, reservationErr: fails, want: http.StatusServiceUnavailable},
		"the reservation cannot be read":   {reservationErr: fails, want: http.StatusInternalServerError},
		"the order cannot be read":         {orderErr: fails, engineErr: engine.ErrUnavailable, want: http.StatusInternalServerError},
		"no saga, the reservation is lost": {engineErr: engine.ErrNotFound, reservationErr: fails, want: http.StatusInternalServerError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := sources{
				begun: new(sync.WaitGroup), orderErr: c.orderErr, engineErr: c.engineErr, reservationErr: c.reservationErr,
			}
			from.begun.Add(3)
			handler := api.New(api.Options{
				Orders: ordersSource{aws.Store, from}, Sagas: engineSource{sources: from}, Fleet: aws.Fleet,
				Registry: prometheus.NewRegistry(), Logger: zerolog.Nop(),
			})
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/sagas/o", http.NoBody))
			if w.Code != c.want {
				t.Errorf("status = %d, want %d: %s", w.Code, c.want, w.Body)
			}
		})
	}
}
