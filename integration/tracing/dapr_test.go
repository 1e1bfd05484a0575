package tracing

import (
	"context"
	"io"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/app"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// dev runs everything with Dapr until the test's end, and gives the API's URL.
func dev(t *testing.T) string {
	t.Helper()
	testkit.NeedDapr(t)
	ctx, stop := context.WithCancel(context.Background())
	up, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- app.Dev{Dapr: true, Out: io.Discard, Logger: zerolog.Nop(), Job: job(func(w *app.Worker) {
			up <- "http://" + w.Listener.Addr().String()
		})}.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		must(t, <-ended)
	})
	select {
	case url := <-up:
		return url
	case err := <-ended:
		ended <- nil
		t.Fatalf("dev is not up: %v", err)
		return ""
	}
}

type job func(*app.Worker)

func (j job) Run(_ context.Context, w *app.Worker, _ app.Simulators) error {
	j(w)
	return nil
}

func TestOneOrderIsOneTraceOnDapr(t *testing.T) {
	api := dev(t)
	place(t, api, "on-dapr", "tok_flaky_2", func(o *order.Order) { o.Lines[0].SKU = "SKU-1" })
	ended(t, api, "on-dapr", order.StatusCompleted)
	trace(t, "on-dapr", `
POST /v1/orders
`)
}
