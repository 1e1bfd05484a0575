package stock

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/text"
)

const carrier = "carrier" // as an actor of notes

// CarrierAnswered keeps the carrier's answer with the order, whatever has become
// of that, and gives back the order as it was just then: it and Sell exclude
// each other, so a refusal comes before the order is COMPLETED, and keeps it
// from being, or after. Keeping an answer again changes nothing.
func (s *Store) CarrierAnswered(ctx context.Context, orderID string, a Carrier, trackingID, reason string) (Record, error) {
	at := s.stamp()
	u := &dynamodb.UpdateItemInput{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)}, ReturnValues: types.ReturnValueAllNew,
		ExpressionAttributeNames:  map[string]string{"#carrier": "carrier"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":a": str(string(a)), ":at": str(at)},
		ConditionExpression:       aws.String("attribute_exists(orderId) AND (attribute_not_exists(#carrier) OR #carrier <> :a)"),
	}
	expr := "SET #carrier = :a, updatedAt = :at"
	if trackingID != "" {
		expr += ", trackingId = :tracking"
		u.ExpressionAttributeValues[":tracking"] = str(text.Cut(trackingID, text.MaxID))
	}
	if a == Refused {
		note, err := encodeNotes(Note{At: at, Actor: carrier, Action: noteRefused, Text: reason})
		if err != nil {
			return Record{}, err
		}
		expr += ", notes = list_append(if_not_exists(notes, :none), :note)"
		u.ExpressionAttributeValues[":none"], u.ExpressionAttributeValues[":note"] = noNotes, note
	}
	expr += " REMOVE asleepUntil" // a saga that was given up waiting goes on
	u.UpdateExpression = &expr
	out, err := s.db.UpdateItem(ctx, u)
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return s.Get(ctx, orderID)
	}
	if err != nil {
		return Record{}, fmt.Errorf("keep the carrier's answer about order %s: %w", orderID, err)
	}
	rec, err := decodeRecord(out.Attributes)
	if err == nil && len(rec.Notes) >= maxNotes { // it changes its mind for ever
		err = s.thinNotes(ctx, orderID)
	}
	return rec, err
}
