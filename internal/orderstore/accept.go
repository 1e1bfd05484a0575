package orderstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// ConflictError is the ErrConflict of Accept. Fields are the paths of what differs, as in
// the order's JSON.
type ConflictError struct{ Fields []string } // as in the order's JSON

func (e *ConflictError) Error() string {
	return ErrConflict.Error() + ", which has another " + strings.Join(e.Fields, ", ")
}

// Unwrap returns ErrConflict.
func (e *ConflictError) Unwrap() error { return ErrConflict }

// Accept records a new order as PENDING. If the id is taken, it returns the record that
// has it: created is false if the content is the same, as with a redelivery, and the
// error is ErrConflict if it is not.
func (s *Store) Accept(ctx context.Context, o order.Order) (rec Record, created bool, err error) {
	return s.accept(ctx, o, false)
}

// AcceptQueued is Accept for an order whose saga is started later, by the worker that
// receives it from the queue. Until then the order is PENDING and has no saga.
func (s *Store) AcceptQueued(ctx context.Context, o order.Order) (rec Record, created bool, err error) {
	return s.accept(ctx, o, true)
}

func (s *Store) accept(ctx context.Context, o order.Order, queued bool) (rec Record, created bool, err error) {
	content, err := encodeContent(o)
	if err != nil {
		return Record{}, false, err
	}
	at := s.stamp()
	rec = Record{
		OrderID: o.OrderID, CustomerID: o.CustomerID, Status: order.To(order.Accepted), Queued: queued,
		Currency: o.Currency, Total: o.Total(), Token: o.Payment.Token, Trace: tracing.Parent(ctx), Fingerprint: o.Fingerprint(),
		Content: content, Created: at, Updated: at, Placed: at + "#" + o.OrderID,
		StatusShard: statusShard(order.To(order.Accepted), o.OrderID), TimeShard: timeShard(o.OrderID),
	}
	item, err := attributevalue.MarshalMap(rec)
	if err != nil {
		return Record{}, false, fmt.Errorf("encode order %s: %w", o.OrderID, err)
	}
	_, err = s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.tables.Orders, Item: item,
		ConditionExpression:                 aws.String("attribute_not_exists(orderId)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if taken, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		// An emulator may not return the old item; AWS does.
		if len(taken.Item) == 0 {
			rec, err = s.Get(ctx, o.OrderID)
		} else {
			rec, err = decodeRecord(taken.Item)
		}
		if err == nil {
			err = rec.repeated(o)
		}
		return rec, false, err
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("accept order %s: %w", o.OrderID, err)
	}
	return rec.filled(), true, nil
}

// repeated returns a *ConflictError unless o is the recorded order once more.
func (r Record) repeated(o order.Order) error {
	if r.Forgotten { // what is left must be the same
		o = o.ForHistory()
	} else if r.Fingerprint == o.Fingerprint() {
		return nil
	}
	was, err := r.Order()
	if err != nil {
		return err
	}
	// The token is removed once the order has ended. The fingerprint covers it.
	as := was
	as.Payment = o.Payment
	if as.Fingerprint() == r.Fingerprint {
		was = as
	}
	if fields := order.Differences(was, o); len(fields) > 0 {
		return &ConflictError{Fields: fields}
	}
	return nil
}
