package lambda

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/httpcall"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Intake is the function that takes orders in, instead of a worker's pollers:
// it starts their sagas through the API.
type Intake struct {
	API    string // base URL
	Token  string // bearer token for it; "" sends none
	HTTP   *http.Client
	Logger zerolog.Logger
}

// NewIntake makes it from its environment: ORDERSAGA_API, the API's base URL,
// and ORDERSAGA_API_TOKEN (default none).
func NewIntake(getenv func(string) string, log io.Writer) (*Intake, error) {
	i := &Intake{
		API: getenv("ORDERSAGA_API"), Token: getenv("ORDERSAGA_API_TOKEN"),
		HTTP: &http.Client{Timeout: 10 * time.Second}, Logger: zerolog.New(log).With().Timestamp().Logger(),
	}
	if u, err := url.Parse(i.API); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("intake function's environment: ORDERSAGA_API is %q, must be the API's base URL, such as https://orders.example.com", i.API)
	}
	return i, nil
}

// Handle handles a batch of OrderPlaced events.
func (i *Intake) Handle(ctx context.Context, e awsevents.SQSEvent) (awsevents.SQSEventResponse, error) {
	return Batch(ctx, i.Logger, e, i.Message), nil
}

// Message starts the saga of one order: raw, or in any envelope. It returns when
// the start is durable; the API starts none twice.
func (i *Intake) Message(ctx context.Context, m events.Message) (err error) {
	e, err := events.Unwrap(m, events.TypeOrderPlaced)
	if err != nil {
		return err
	}
	o, err := order.Parse(e.Payload) // the API does too; but what is no order is not sent around
	if err != nil {
		return err
	}
	ctx = tracing.Continue(ctx, e.Traceparent)
	tracing.Concerns(ctx, o.OrderID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(i.API, "/")+"/v1/sagas", bytes.NewReader(e.Payload))
	if err != nil {
		return fmt.Errorf("start saga of order %s: %w", o.OrderID, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if parent := tracing.Parent(ctx); parent != "" {
		req.Header.Set(tracing.Attribute, parent)
	}
	if i.Token != "" {
		req.Header.Set("Authorization", "Bearer "+i.Token)
	}
	res, err := httpcall.Do(i.HTTP, req)
	if err != nil {
		return fmt.Errorf("start saga of order %s: %w", o.OrderID, err)
	}
	problem, err := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // to the end, or the connection is not used again
	err = errors.Join(err, res.Body.Close())
	// Only this says that the start is durable: a 200 may be anybody's, and the
	// message would be deleted for it.
	if res.StatusCode == http.StatusAccepted {
		return nil // whatever became of the rest of the answer
	}
	return errors.Join(fmt.Errorf("start saga of order %s: the API answers %s: %.1000s", o.OrderID, res.Status, problem), err)
}
