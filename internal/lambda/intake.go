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

// Intake is the Lambda function that starts the sagas of new orders through the
// API. It is the alternative to workers that poll the queue. API is required; the
// other fields may be zero. It is safe for concurrent use.
type Intake struct {
	API    string         // base URL of the API
	Token  string         // bearer token for the API; "" sends none
	HTTP   *http.Client   // nil means http.DefaultClient
	Logger zerolog.Logger // the zero value discards
}

// NewIntake returns the function that the environment configures: ORDERSAGA_API
// is the API's base URL, ORDERSAGA_API_TOKEN its bearer token (default none).
// Requests time out after 10 seconds. It logs to log. The error names the
// variable that is wrong.
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

// Handle starts the sagas of a batch of OrderPlaced events. Its error is always
// nil: the response has the messages that failed.
func (i *Intake) Handle(ctx context.Context, e awsevents.SQSEvent) (awsevents.SQSEventResponse, error) {
	return Batch(ctx, i.Logger, e, i.Message), nil
}

// Message starts the saga of one order. The message has the OrderPlaced event
// raw or in any envelope that events.Unwrap accepts. Message returns nil when the
// start is durable. It may be repeated: the API starts no saga twice.
func (i *Intake) Message(ctx context.Context, m events.Message) (err error) {
	e, err := events.Unwrap(m, events.TypeOrderPlaced)
	if err != nil {
		return err
	}
	o, err := order.Parse(e.Payload) // the API checks too, but no request is needed to reject an invalid order
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
	problem, err := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // reading to the end lets the connection be reused
	err = errors.Join(err, res.Body.Close())
	// Only 202 means that the start is durable. A proxy may return 200 for a page
	// of its own, and SQS would then delete the message.
	if res.StatusCode == http.StatusAccepted {
		return nil // an error in reading the body does not matter
	}
	return errors.Join(fmt.Errorf("start saga of order %s: the API returned %s: %.1000s", o.OrderID, res.Status, problem), err)
}
