package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine/embedded"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Journey is the state of a saga: its fields are omitempty, because each step
// returns only those that it has set.
type Journey struct {
	Traveller string `json:"traveller,omitempty"`
	Flight    string `json:"flight,omitempty"`
}

// Two steps; the second is refused, so the first is compensated.
func Example() {
	quick := saga.Policy{First: time.Millisecond, Max: time.Second, Factor: 2, MaxAttempts: 3}
	booking := saga.Saga[Journey]{
		Done: "BOOKED", Failed: "FAILED", Cancelled: "CANCELLED",
		Steps: []saga.Step[Journey]{
			{Name: "flight", Do: "BookFlight", Undo: "CancelFlight", Retry: quick, UndoRetry: quick},
			{Name: "hotel", Do: "BookHotel", Retry: quick},
		},
	}
	registry := task.NewTaskRegistry()
	err := errors.Join(
		booking.Validate(),
		registry.AddWorkflowN("Booking", booking.Workflow),
		registry.AddActivityN("BookFlight", saga.Do(func(_ context.Context, t Journey) (Journey, error) {
			fmt.Println("book a flight for", t.Traveller)
			return Journey{Flight: "F1"}, nil
		})),
		registry.AddActivityN("CancelFlight", saga.Undo(func(_ context.Context, t Journey, why saga.Stop) error {
			fmt.Println("cancel flight", t.Flight, "because", why.Reason)
			return nil
		})),
		registry.AddActivityN("BookHotel", saga.Do(func(context.Context, Journey) (Journey, error) {
			return Journey{}, &saga.Stop{Status: "SOLD_OUT", Reason: "no room is free"}
		})),
	)
	if err != nil {
		panic(err)
	}

	engine, err := embedded.Open(embedded.Options{Logger: zerolog.Nop()}) // no Dir: in memory
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- engine.Run(ctx, registry) }()

	if err := engine.Start(ctx, "Booking", "trip-1", Journey{Traveller: "Ada"}); err != nil {
		panic(err)
	}
	result, err := engine.Wait(ctx, "trip-1")
	fmt.Println(string(result.Output), err)

	stop()
	fmt.Println(errors.Join(<-ended, engine.Close()))
	// Output:
	// book a flight for Ada
	// cancel flight F1 because no room is free
	// {"status":"SOLD_OUT","reason":"no room is free","compensated":["flight"]} <nil>
	// <nil>
}

// A compensation whose retries are exhausted parks the saga. An operator resolves
// it with a signal.
func ExampleSaga_OnStuck() {
	once := saga.Policy{First: time.Millisecond, Max: time.Second, Factor: 2, MaxAttempts: 1}
	booking := saga.Saga[Journey]{
		Done: "BOOKED", Failed: "FAILED", Cancelled: "CANCELLED", OnStuck: "NotifyOperator",
		Steps: []saga.Step[Journey]{
			{Name: "flight", Do: "BookFlight", Undo: "CancelFlight", Retry: once, UndoRetry: once},
		},
	}
	unavailable := errors.New("the airline's system is unavailable")
	parked := make(chan string, 1)
	registry := task.NewTaskRegistry()
	err := errors.Join(
		booking.Validate(),
		registry.AddWorkflowN("Booking", booking.Workflow),
		registry.AddActivityN("BookFlight", saga.Do(func(context.Context, Journey) (Journey, error) {
			return Journey{}, unavailable // the outcome is unknown, so the step is compensated
		})),
		registry.AddActivityN("CancelFlight", saga.Undo(func(context.Context, Journey, saga.Stop) error {
			return unavailable
		})),
		registry.AddActivityN("NotifyOperator", saga.OnStuck(func(_ context.Context, _ Journey, step, _ string) error {
			parked <- step
			return nil
		})),
	)
	if err != nil {
		panic(err)
	}

	engine, err := embedded.Open(embedded.Options{Logger: zerolog.Nop()}) // no Dir: in memory
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- engine.Run(ctx, registry) }()
	if err := engine.Start(ctx, "Booking", "trip-2", Journey{Traveller: "Ada"}); err != nil {
		panic(err)
	}
	fmt.Println("parked at:", <-parked)

	// The operator has canceled the flight by phone.
	done := saga.Resolution{Action: saga.ActionResolve, By: "Grace", Note: "canceled by phone"}
	if err := saga.Send(ctx, engine, "trip-2", "resolve", done); err != nil {
		panic(err)
	}
	instance, err := engine.Wait(ctx, "trip-2")
	var report saga.Report
	fmt.Println(errors.Join(err, json.Unmarshal(instance.Output, &report)))
	fmt.Println(report.Status, report.Skipped)

	stop()
	fmt.Println(errors.Join(<-ended, engine.Close()))
	// Output:
	// parked at: flight
	// <nil>
	// FAILED [flight]
	// <nil>
}
