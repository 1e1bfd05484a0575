package orderstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// ErrChanged means that the stock on hand of a SKU is no longer what the stocktake was
// made against.
var ErrChanged = errors.New("what is on hand has changed since")

// ReservedError means that more units are reserved than were counted.
type ReservedError struct {
	SKU               string
	Counted, Reserved int64
}

func (e *ReservedError) Error() string {
	return fmt.Sprintf("stock of %s: %d units were counted, and orders hold %d: count again, or cancel orders first",
		e.SKU, e.Counted, e.Reserved)
}

// Count records a stocktake: counted is the number of units on hand, available and
// reserved together. Available becomes what is not reserved, and Received takes the
// difference.
//
// against is the Version of the level that was counted, or NewSKU. The error is
// ErrChanged if the version is a different one now, and *ReservedError if more units are
// reserved than were counted. The level keeps its last count, so that repeating it
// changes nothing, whatever was sold since, and returns the level as it is.
func (s *Store) Count(ctx context.Context, sku string, counted int64, against string) (Level, error) {
	if counted < 0 || counted > MaxLevel {
		return Level{}, fmt.Errorf("count stock of %s: the count must be 0 to %d units, got %d", sku, int64(MaxLevel), counted)
	}
	in := &dynamodb.UpdateItemInput{
		TableName: &s.tables.Stock, Key: item{"sku": str(sku)},
		ReturnValues: types.ReturnValueAllNew, ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		ExpressionAttributeValues: item{":counted": num(counted), ":against": str(against), ":one": num(1), ":at": str(s.stamp())},
	}
	if against == NewSKU {
		in.UpdateExpression = aws.String("SET available = :counted, received = :counted, reserved = :zero, sold = :zero, " +
			"counts = :one, counted = :counted, countedAgainst = :against, countedAt = :at")
		in.ConditionExpression = aws.String("attribute_not_exists(sku)")
		in.ExpressionAttributeValues[":zero"] = num(0)
	} else {
		var was Level
		if _, err := fmt.Sscanf(against+"\n", "%d-%d-%d\n", &was.Received, &was.Sold, &was.Counts); err != nil || was.Version() != against {
			return Level{}, fmt.Errorf("count stock of %s: no level has the version %q: %w", sku, against, ErrChanged)
		}
		// On hand is what was received and not sold. A missing attribute is 0: other means
		// than this program may have written the level.
		in.UpdateExpression = aws.String("SET available = :counted - if_not_exists(reserved, :zero), " +
			"received = :counted + if_not_exists(sold, :zero), reserved = if_not_exists(reserved, :zero), sold = if_not_exists(sold, :zero), " +
			"counts = if_not_exists(counts, :zero) + :one, counted = :counted, countedAgainst = :against, countedAt = :at")
		in.ConditionExpression = aws.String("attribute_exists(sku) AND (attribute_not_exists(reserved) OR reserved <= :counted)")
		in.ExpressionAttributeValues[":zero"] = num(0)
		for name, n := range map[string]int64{"received": was.Received, "sold": was.Sold, "counts": was.Counts} {
			is := name + " = :" + name
			if n == 0 {
				is = "(attribute_not_exists(" + name + ") OR " + is + ")"
			}
			*in.ConditionExpression += " AND " + is
			in.ExpressionAttributeValues[":"+name] = num(n)
		}
	}
	out, err := s.db.UpdateItem(ctx, in)
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return s.counted(ctx, sku, counted, against, failed.Item)
	}
	if err != nil {
		return Level{}, fmt.Errorf("count stock of %s: %w", sku, err)
	}
	return decodeLevel(out.Attributes)
}

// counted explains why a count was rejected, or recognizes it as a repetition. found is
// the level; it is empty with an emulator that does not return it.
func (s *Store) counted(ctx context.Context, sku string, counted int64, against string, found item) (l Level, err error) {
	if len(found) == 0 {
		found, err = s.getItem(ctx, s.tables.Stock, "sku", sku)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return l, fmt.Errorf("count stock of %s: %w", sku, err)
		}
	}
	if len(found) == 0 {
		return l, fmt.Errorf("count stock of %s: it has no level: %w", sku, ErrChanged)
	}
	var last struct {
		Counted *int64  `dynamodbav:"counted"`
		Against *string `dynamodbav:"countedAgainst"`
	}
	if err := attributevalue.UnmarshalMap(found, &last); err != nil {
		return l, fmt.Errorf("decode the last count of %s: %w", sku, err)
	}
	l, err = decodeLevel(found)
	if err != nil {
		return l, err
	}
	switch {
	case last.Against != nil && *last.Against == against && *last.Counted == counted:
		return l, nil
	case l.Version() == against && l.Reserved > counted:
		return l, &ReservedError{SKU: sku, Counted: counted, Reserved: l.Reserved}
	}
	return l, fmt.Errorf("count stock of %s: %d on hand, of which %d are reserved, as version %s: %w",
		sku, l.Available+l.Reserved, l.Reserved, l.Version(), ErrChanged)
}
