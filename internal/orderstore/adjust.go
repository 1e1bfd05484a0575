package orderstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/events"
)

// eventIDRetention is how long the id of an applied stock event is kept. SQS keeps a
// message for at most 14 days, and moving it to the dead-letter queue does not reset its
// age:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
// The rest is for dead letters that an operator kept in a file.
const eventIDRetention = 90 * 24 * time.Hour

// ErrEventConflict means that the event id belongs to an event with different content.
var ErrEventConflict = errors.New("eventId is already used by a different stock event")

// RefusedError means that an adjustment cannot be applied now. None of its lines was.
// Fields names the lines and the reasons.
type RefusedError struct{ Fields []string }

func (e *RefusedError) Error() string { return "stock event refused: " + strings.Join(e.Fields, "; ") }

// Adjuster applies stock events to the ledger, each exactly once. The zero value is not
// usable: call NewAdjuster. It is safe for concurrent use.
type Adjuster struct {
	store *Store
	table string
}

// NewAdjuster returns an adjuster for the stock of s. Its own table, which has the ids of
// applied events, is called prefix + "stockevents".
func NewAdjuster(s *Store, prefix string) *Adjuster {
	return &Adjuster{store: s, table: prefix + "stockevents"}
}

type seenEvent struct {
	EventID     string `dynamodbav:"eventId"`
	Fingerprint string `dynamodbav:"fingerprint"`
	AppliedAt   string `dynamodbav:"appliedAt"`
	ExpiresAt   int64  `dynamodbav:"expiresAt"` // Unix seconds: the table's time to live
	Announced   bool   `dynamodbav:"announced"`
}

// Apply changes the ledger by a valid event, all lines or none, and records the event in
// the same transaction. If the event was applied before, Apply changes nothing, and
// announced reports whether Announced was called for it. After ErrEventConflict and
// *RefusedError the same event must not be retried as it is.
func (a *Adjuster) Apply(ctx context.Context, e events.StockAdjusted) (announced bool, err error) {
	record, err := attributevalue.MarshalMap(seenEvent{
		EventID: e.EventID, Fingerprint: e.Fingerprint(), AppliedAt: a.store.stamp(), ExpiresAt: a.store.now().Add(eventIDRetention).Unix(),
	})
	if err != nil {
		return false, fmt.Errorf("encode stock event %s: %w", e.EventID, err)
	}
	items := []types.TransactWriteItem{{Put: &types.Put{
		TableName: &a.table, Item: record, ConditionExpression: aws.String("attribute_not_exists(eventId)"),
	}}}
	for _, l := range e.Lines {
		condition, bound := "available >= :bound", -l.Quantity
		if l.Quantity > 0 {
			condition, bound = "attribute_not_exists(sku) OR available <= :bound", MaxLevel-l.Quantity
		}
		items = append(items, types.TransactWriteItem{Update: &types.Update{
			TableName: &a.store.tables.Stock, Key: map[string]types.AttributeValue{"sku": str(l.SKU)},
			UpdateExpression: aws.String("SET available = if_not_exists(available, :zero) + :q, received = if_not_exists(received, :zero) + :q, " +
				"reserved = if_not_exists(reserved, :zero), sold = if_not_exists(sold, :zero)"),
			ConditionExpression:       &condition,
			ExpressionAttributeValues: map[string]types.AttributeValue{":q": num(l.Quantity), ":zero": num(0), ":bound": num(bound)},
		}})
	}
	failed, err := a.store.transact(ctx, "apply stock event "+e.EventID, items)
	switch {
	case err != nil:
		return false, err
	case len(failed) == 0:
		return false, nil
	case failed[0]:
		return a.before(ctx, e)
	}
	refused := &RefusedError{}
	for i, l := range e.Lines {
		if !failed[i+1] {
			continue
		}
		why := "has fewer units available"
		if l.Quantity > 0 {
			why = "would have more than " + strconv.Itoa(MaxLevel) + " available"
		}
		refused.Fields = append(refused.Fields, fmt.Sprintf("lines[%d].quantity: is %d, and %s %s", i, l.Quantity, l.SKU, why))
	}
	return false, refused
}

// before answers an Apply of an event whose id is already recorded.
func (a *Adjuster) before(ctx context.Context, e events.StockAdjusted) (announced bool, err error) {
	item, err := a.store.getItem(ctx, a.table, "eventId", e.EventID)
	if err != nil {
		return false, fmt.Errorf("stock event %s: %w", e.EventID, err)
	}
	var seen seenEvent
	if err := attributevalue.UnmarshalMap(item, &seen); err != nil {
		return false, fmt.Errorf("decode stock event %s: %w", e.EventID, err)
	}
	if seen.Fingerprint != e.Fingerprint() {
		return false, fmt.Errorf("stock event %s: %w", e.EventID, ErrEventConflict)
	}
	return seen.Announced, nil
}

// Announced records that the result of an applied event was published. Until then each
// repetition of the event must publish it.
func (a *Adjuster) Announced(ctx context.Context, eventID string) error {
	return wrap(a.store.update(ctx, &types.Update{
		TableName: &a.table, Key: map[string]types.AttributeValue{"eventId": str(eventID)},
		UpdateExpression: aws.String("SET announced = :true"), ConditionExpression: aws.String("attribute_exists(eventId)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":true": &types.AttributeValueMemberBOOL{Value: true}},
	}), "record that stock event %s was announced", eventID)
}

// GetLevel calls Store.GetLevel.
func (a *Adjuster) GetLevel(ctx context.Context, sku string) (Level, error) {
	return a.store.GetLevel(ctx, sku)
}

// CreateTable creates the table of event ids if it is missing, for development and tests.
// In a cluster CloudFormation creates it.
func (a *Adjuster) CreateTable(ctx context.Context) error {
	_, err := a.store.db.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &a.table, BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("eventId"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("eventId"), AttributeType: types.ScalarAttributeTypeS}},
	})
	if _, exists := errors.AsType[*types.ResourceInUseException](err); err != nil && !exists {
		return fmt.Errorf("create table %s: %w", a.table, err)
	}
	if err := dynamodb.NewTableExistsWaiter(a.store.db).Wait(ctx, &dynamodb.DescribeTableInput{TableName: &a.table}, time.Minute); err != nil {
		return fmt.Errorf("wait for table %s: %w", a.table, err)
	}
	return a.store.expire(ctx, a.table)
}
