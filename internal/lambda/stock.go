package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
)

// Names of the stock function's topics and queues. Only the function and the
// CloudFormation template use them.
const (
	TopicStockEvents    = "StockEvents"          // topic for StockAdjusted, which feeds QueueStockEvents
	TopicStockLevels    = "StockLevels"          // topic for StockChanged and LowStock, which the function publishes
	QueueStockEvents    = "StockEventsQueue"     // queue that invokes the function
	QueueStockEventsDLQ = "StockEventsQueue-dlq" // its dead-letter queue
)

// LowStockBelow is the default threshold of LowStock, in units.
const LowStockBelow = 10

// Ledger is the part of *orderstore.Adjuster that Stock uses.
type Ledger interface {
	// Apply adjusts the stock once per event id. announced reports whether
	// Announced has been called for the event.
	Apply(ctx context.Context, e events.StockAdjusted) (announced bool, err error)
	// Announced records that the event's StockChanged and LowStock are published.
	Announced(ctx context.Context, eventID string) error
	// GetLevel returns the current stock of a SKU.
	GetLevel(ctx context.Context, sku string) (orderstore.Level, error)
}

// Stock is the Lambda function that adjusts stock and publishes the new levels.
// Ledger and Levels are required. It is safe for concurrent use.
type Stock struct {
	Ledger   Ledger
	Levels   *snspublisher.Topic // the topic TopicStockLevels
	LowBelow int64               // units; LowStock is published when fewer are available
	Logger   zerolog.Logger      // the zero value discards
}

// NewStock returns the function that the environment configures: AWS_REGION,
// which Lambda sets, STOCK_LEVELS_TOPIC_ARN, LOW_STOCK_BELOW in units (default
// LowStockBelow) and TABLE_PREFIX (default none). AWS_ENDPOINT_URL replaces AWS's
// own endpoints. It logs to log. The error names every variable that is wrong.
func NewStock(ctx context.Context, getenv func(string) string, log io.Writer) (*Stock, error) {
	s := &Stock{LowBelow: LowStockBelow, Logger: zerolog.New(log).With().Timestamp().Logger()}
	var faults []error
	arn := getenv("STOCK_LEVELS_TOPIC_ARN")
	if arn == "" {
		faults = append(faults, errors.New("STOCK_LEVELS_TOPIC_ARN must be the ARN of the topic "+TopicStockLevels))
	}
	if v := getenv("LOW_STOCK_BELOW"); v != "" {
		units, err := strconv.ParseInt(v, 10, 64)
		if err != nil || units < 0 {
			faults = append(faults, fmt.Errorf("LOW_STOCK_BELOW is %q, must be a number of units, 0 or more", v))
		}
		s.LowBelow = units
	}
	clients, err := cloud.New(ctx, cloud.Options{Region: getenv("AWS_REGION"), Logger: s.Logger.Level(zerolog.InfoLevel)})
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, fmt.Errorf("stock function's environment: %w", err)
	}
	prefix := getenv("TABLE_PREFIX")
	s.Levels = snspublisher.New(clients.SNS, arn)
	s.Ledger = orderstore.NewAdjuster(orderstore.New(clients.DynamoDB, orderstore.TablesWithPrefix(prefix), nil), prefix)
	return s, nil
}

// Handle applies a batch of StockAdjusted events. Its error is always nil: the
// response has the messages that failed.
func (s *Stock) Handle(ctx context.Context, e awsevents.SQSEvent) (awsevents.SQSEventResponse, error) {
	return Batch(ctx, s.Logger, e, s.Message), nil
}

// Message applies one StockAdjusted event, raw or in any envelope that
// events.Unwrap accepts, and publishes the new levels. It returns nil when both
// are durable. It may be repeated: the stock changes once per event id. An event
// that can never be applied is an *events.InvalidStockError or an error of
// Ledger.Apply.
func (s *Stock) Message(ctx context.Context, m events.Message) error {
	in, err := events.Unwrap(m, events.TypeStockAdjusted)
	if err != nil {
		return &events.InvalidStockError{Fields: []order.FieldError{{Field: "body", Message: err.Error()}}}
	}
	e, err := events.ParseStockAdjusted(in.Payload, in.Type)
	if err != nil {
		return err
	}
	announced, err := s.Ledger.Apply(ctx, e)
	if announced || err != nil {
		return err
	}
	// An earlier run may have crashed after Apply: publish again whatever is not
	// recorded as announced, under the same event ids.
	for _, l := range e.Lines {
		if err := s.announce(ctx, e, l); err != nil {
			return err
		}
	}
	return s.Ledger.Announced(ctx, e.EventID)
}

// announce publishes the level of one line's SKU, and LowStock if it is low.
func (s *Stock) announce(ctx context.Context, e events.StockAdjusted, l events.StockLine) error {
	level, err := s.Ledger.GetLevel(ctx, l.SKU)
	if err != nil {
		return err
	}
	id := e.EventID + "/" + l.SKU
	err = s.publish(ctx, events.TypeStockChanged, l.SKU, events.StockChanged{
		SpecVersion: events.SpecVersion, Type: events.TypeStockChanged, EventID: id, Cause: e.EventID, Reason: e.Reason,
		SKU: l.SKU, Change: l.Quantity, Available: level.Available, Reserved: level.Reserved,
	})
	if err != nil || level.Available >= s.LowBelow {
		return err
	}
	return s.publish(ctx, events.TypeLowStock, l.SKU, events.LowStock{
		SpecVersion: events.SpecVersion, Type: events.TypeLowStock, EventID: id + "/low", Cause: e.EventID,
		SKU: l.SKU, Available: level.Available, Threshold: s.LowBelow,
	})
}

func (s *Stock) publish(ctx context.Context, kind, sku string, event any) error {
	body, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode %s of %s: %w", kind, sku, err)
	}
	if err := s.Levels.Publish(ctx, body, map[string]string{"type": kind, "sku": sku}); err != nil {
		return fmt.Errorf("publish %s of %s to %s: %w", kind, sku, TopicStockLevels, err)
	}
	return nil
}
