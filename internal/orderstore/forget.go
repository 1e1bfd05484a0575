package orderstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// NoteForget is the action of the note that Forget adds.
const NoteForget = "forget"

// ErrOpen means that an order has not ended. Its customer cannot be erased, because its
// steps need the data.
var ErrOpen = errors.New("the order has not ended")

// Forget erases from an order that has ended who placed it and where it went: the
// customer, the address, the fingerprint (a hash over these), and the texts of notes,
// because they may quote personal data. What was ordered, paid and shipped stays. n is
// added as a note. A repetition changes nothing and returns erased false. The error is
// ErrOpen if the order has not ended, or was reopened.
func (s *Store) Forget(ctx context.Context, orderID string, n Note) (erased bool, err error) {
	n.At = s.stamp()
	for range 10 {
		rec, err := s.Get(ctx, orderID)
		switch {
		case err != nil:
			return false, err
		case !rec.Status.Allows(order.CustomerErased):
			return false, fmt.Errorf("erase the customer of order %s, which is %s: %w", orderID, rec.Status, ErrOpen)
		case rec.Forgotten:
			return false, nil
		}
		u, err := s.erasure(rec, n)
		if err == nil {
			err = s.update(ctx, u)
		}
		if !errors.Is(err, ErrFinished) {
			return err == nil, wrap(err, "erase the customer of order %s", orderID)
		}
	}
	return false, fmt.Errorf("erase the customer of order %s: other calls keep changing the order; retry later", orderID)
}

// erasure returns the update that erases, on condition that the order is as it was
// read. It keeps updatedAt, which is when the order ended.
func (s *Store) erasure(rec Record, n Note) (*types.Update, error) {
	o, err := decodeContent(rec.Content)
	if err != nil { // keep nothing of what cannot be decoded
		o = order.Order{OrderID: rec.OrderID, Currency: rec.Currency}
	}
	content, err := encodeContent(o.ForHistory())
	if err != nil {
		return nil, err
	}
	kept := make([]Note, 0, len(rec.Notes)+1)
	for _, was := range rec.Notes {
		if was.Action != noteLeftOut { // it has only a number
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
	if rec.Terminated != "" { // the mark stays, the reason is erased
		*u.UpdateExpression += ", sagaTerminated = :terminated"
		u.ExpressionAttributeValues[":terminated"] = str("no reason given")
	}
	*u.UpdateExpression += " REMOVE customerId, fingerprint, reason, #token" // without a customer it is not in their index
	return u, nil
}
