package stock

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
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
		u.ExpressionAttributeValues[":tracking"] = str(trackingID)
	}
	if a == Refused {
		note, err := attributevalue.MarshalMap(Note{At: at, Actor: carrier, Action: noteRefused, Text: reason})
		if err != nil {
			return Record{}, fmt.Errorf("encode note: %w", err)
		}
		expr += ", notes = list_append(if_not_exists(notes, :none), :note)"
		u.ExpressionAttributeValues[":none"] = &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
		u.ExpressionAttributeValues[":note"] = &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberM{Value: note}}}
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
	return decodeRecord(out.Attributes)
}
