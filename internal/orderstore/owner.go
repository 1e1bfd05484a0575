package orderstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const ownerItem = "#embedded-worker" // like probeItem

// Owner is the embedded engine that has the sagas of these tables' orders.
type Owner struct {
	ID    string `dynamodbav:"owner"` // of its state
	Host  string `dynamodbav:"ownerHost"`
	PID   int    `dynamodbav:"ownerPid"`
	Since string `dynamodbav:"ownerSince"` // when that process began
}

// OwnedError says that another embedded engine has the sagas.
type OwnedError struct{ Owner Owner }

func (e *OwnedError) Error() string {
	return fmt.Sprintf("the sagas of these orders are in the state of another embedded worker (last run on host %s, pid %d, since %s): "+
		"end it for good, or start with its data directory", e.Owner.Host, e.Owner.PID, e.Owner.Since)
}

// Own records that o has the sagas, or returns *OwnedError if another one has
// them and takeOver does not say to go ahead.
func (s *Store) Own(ctx context.Context, o Owner, takeOver bool) error {
	u := &dynamodb.UpdateItemInput{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(ownerItem)},
		UpdateExpression:         aws.String("SET #owner = :id, ownerHost = :host, ownerPid = :pid, ownerSince = :since"),
		ExpressionAttributeNames: map[string]string{"#owner": "owner"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":id": str(o.ID), ":host": str(o.Host), ":since": str(s.stamp()), ":pid": &types.AttributeValueMemberN{Value: strconv.Itoa(o.PID)},
		},
	}
	if !takeOver {
		u.ConditionExpression = aws.String("attribute_not_exists(#owner) OR #owner = :id")
	}
	_, err := s.db.UpdateItem(ctx, u)
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return s.Owned(ctx, o.ID)
	}
	return wrap(err, "record who has the sagas")
}

// Owned returns *OwnedError unless the engine of that id has the sagas.
func (s *Store) Owned(ctx context.Context, id string) error {
	item, err := s.getItem(ctx, s.tables.Orders, "orderId", ownerItem)
	if err != nil {
		return wrap(err, "read who has the sagas")
	}
	var o Owner
	if err := attributevalue.UnmarshalMap(item, &o); err != nil {
		return fmt.Errorf("decode who has the sagas: %w", err)
	}
	if o.ID != id {
		return &OwnedError{o}
	}
	return nil
}

// Disown is for an engine whose state is gone when it ends.
func (s *Store) Disown(ctx context.Context, id string) error {
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(ownerItem)},
		UpdateExpression: aws.String("REMOVE #owner"), ConditionExpression: aws.String("#owner = :id"),
		ExpressionAttributeNames: map[string]string{"#owner": "owner"}, ExpressionAttributeValues: map[string]types.AttributeValue{":id": str(id)},
	})
	if errors.Is(err, ErrFinished) {
		return nil // it was taken over
	}
	return wrap(err, "give up the sagas")
}
