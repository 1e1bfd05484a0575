package orderstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// NoteForget is the action of the note of Forget.
const NoteForget = "forget"

// ErrOpen says that an order has not ended, so its customer cannot be forgotten:
// its steps need them.
var ErrOpen = errors.New("the order has not ended")

// Forget erases from an order that has ended who placed it and where it went: the
// customer, the address, the fingerprint, which is a hash over these, and what
// people and others have written, for nobody knows what that says. What was
// ordered, paid and shipped stays, and n, which says that it happened. To forget
// again changes nothing, and erased is false. ErrOpen if the order has not ended, or goes on again.
func (s *Store) Forget(ctx context.Context, orderID string, n Note) (erased bool, err error) {
	n.At = s.stamp()
	for range 10 {
		rec, err := s.Get(ctx, orderID)
		switch {
		case err != nil:
			return false, err
		case !rec.Status.Allows(order.CustomerErased):
			return false, fmt.Errorf("forget the customer of order %s, which is %s: %w", orderID, rec.Status, ErrOpen)
		case rec.Forgotten:
			return false, nil
		}
		u, err := s.forgetting(rec, n)
		if err == nil {
			err = s.update(ctx, u)
		}
		if !errors.Is(err, ErrFinished) {
			return err == nil, wrap(err, "forget the customer of order %s", orderID)
		}
	}
	return false, fmt.Errorf("forget the customer of order %s: it changes all the time; try again", orderID)
}

// forgetting is the update that forgets, unless the order has changed since it
// was read. It does not change when the order did last, which is when it ended.
func (s *Store) forgetting(rec Record, n Note) (*types.Update, error) {
	o, err := decodeContent(rec.Content)
	if err != nil { // nobody can say what is in it
		o = order.Order{OrderID: rec.OrderID, Currency: rec.Currency}
	}
	content, err := encodeContent(o.ForHistory())
	if err != nil {
		return nil, err
	}
	kept := make([]Note, 0, len(rec.Notes)+1)
	for _, was := range rec.Notes {
		if was.Action != noteLeftOut { // it counts
			was.Text = ""
		}
		if was.For == Customer {
			was.Actor = string(Customer)
		}
		kept = append(kept, was)
	}
	notes, err := encodeNotes(append(kept, n)...)
	if err != nil {
		return nil, err
	}
	u := &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(rec.OrderID)},
		UpdateExpression:         aws.String("SET content = :content, notes = :notes, forgotten = :true"),
		ConditionExpression:      aws.String("#status = :status AND updatedAt = :at"),
		ExpressionAttributeNames: map[string]string{"#status": "status", "#token": "token"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":content": str(content), ":notes": notes, ":true": &types.AttributeValueMemberBOOL{Value: true},
			":status": str(string(rec.Status)), ":at": str(rec.Updated),
		},
	}
	if rec.Terminated != "" { // that it was stays, and not why
		*u.UpdateExpression += ", sagaTerminated = :terminated"
		u.ExpressionAttributeValues[":terminated"] = str("no reason given")
	}
	*u.UpdateExpression += " REMOVE customerId, fingerprint, reason, #token" // without a customer it is not in their index
	return u, nil
}
