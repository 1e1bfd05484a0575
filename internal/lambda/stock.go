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

// Names of the stock function's topics and queues. Only it and CloudFormation
// know them.
const (
	TopicStockEvents    = "StockEvents" // StockAdjusted, to the queue
	TopicStockLevels    = "StockLevels" // StockChanged and LowStock, from the function
	QueueStockEvents    = "StockEventsQueue"
	QueueStockEventsDLQ = "StockEventsQueue-dlq"
)

// LowStockBelow is the usual threshold of LowStock, in pieces.
const LowStockBelow = 10

// Ledger is what Stock uses of *stock.Adjuster.
type Ledger interface {
	Apply(ctx context.Context, e events.StockAdjusted) (announced bool, err error)
	Announced(ctx context.Context, eventID string) error
	GetLevel(ctx context.Context, sku string) (orderstore.Level, error)
}

// Stock is the function that adjusts stock.
type Stock struct {
	Ledger   Ledger
	Levels   *snspublisher.Topic // StockLevels
	LowBelow int64               // pieces; fewer available are a LowStock
	Logger   zerolog.Logger
}

// NewStock makes it from its environment: AWS_REGION, which Lambda sets,
// STOCK_LEVELS_TOPIC_ARN, LOW_STOCK_BELOW (default 10) and TABLE_PREFIX
// (default none). AWS_ENDPOINT_URL points elsewhere than AWS.
func NewStock(ctx context.Context, getenv func(string) string, log io.Writer) (*Stock, error) {
	s := &Stock{LowBelow: LowStockBelow, Logger: zerolog.New(log).With().Timestamp().Logger()}
	var faults []error
	arn := getenv("STOCK_LEVELS_TOPIC_ARN")
	if arn == "" {
		faults = append(faults, errors.New("STOCK_LEVELS_TOPIC_ARN must be the ARN of the topic "+TopicStockLevels))
	}
	if v := getenv("LOW_STOCK_BELOW"); v != "" {
		var err error
		if s.LowBelow, err = strconv.ParseInt(v, 10, 64); err != nil || s.LowBelow < 0 {
			faults = append(faults, fmt.Errorf("LOW_STOCK_BELOW is %q, must be a number of pieces, 0 or more", v))
		}
	}
	clients, err := cloud.New(ctx, cloud.Options{Region: getenv("AWS_REGION"), Logger: s.Logger.Level(zerolog.InfoLevel)})
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, fmt.Errorf("stock function's environment: %w", err)
	}
	prefix := getenv("TABLE_PREFIX")
	s.Levels, s.Ledger = snspublisher.New(clients.SNS, arn), orderstore.NewAdjuster(orderstore.New(clients.DynamoDB, orderstore.TablesWithPrefix(prefix), nil), prefix)
	return s, nil
}

// Handle handles a batch of StockAdjusted events.
func (s *Stock) Handle(ctx context.Context, e awsevents.SQSEvent) (awsevents.SQSEventResponse, error) {
	return Batch(ctx, s.Logger, e, s.Message), nil
}

// Message handles one event: raw, or in any envelope. It returns when its
// effects are durable; running it again changes nothing more.
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
	// Between the ledger and here the function may have died: what is not
	// recorded as announced is announced again, under the same ids.
	for _, l := range e.Lines {
		if err := s.announce(ctx, e, l); err != nil {
			return err
		}
	}
	return s.Ledger.Announced(ctx, e.EventID)
}

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
