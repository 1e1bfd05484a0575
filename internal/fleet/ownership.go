package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/orderstore"
)

const ownerItem = "#embedded-worker"

// Owner is the embedded engine that owns the sagas of these tables' orders.
type Owner struct {
	ID    string `dynamodbav:"owner"` // of the engine's state, not of a process
	Host  string `dynamodbav:"ownerHost"`
	PID   int    `dynamodbav:"ownerPid"`
	Since string `dynamodbav:"ownerSince"` // when that process started
}

// OwnedError is the error of an engine that does not own the sagas: Owner does.
type OwnedError struct{ Owner Owner }

func (e *OwnedError) Error() string {
	return fmt.Sprintf("another embedded worker owns the sagas of these orders (last run on host %s, pid %d, since %s): "+
		"start with its data directory, or stop it permanently and start with --force-ownership", e.Owner.Host, e.Owner.PID, e.Owner.Since)
}

// AcquireOwnership records o as the owner of the sagas. If another engine owns
// them, it returns *OwnedError, or replaces that engine if force is set.
func (r *Registry) AcquireOwnership(ctx context.Context, o Owner, force bool) error {
	u := &dynamodb.UpdateItemInput{
		TableName: &r.table, Key: key(ownerItem),
		UpdateExpression:         aws.String("SET #owner = :id, ownerHost = :host, ownerPid = :pid, ownerSince = :since"),
		ExpressionAttributeNames: map[string]string{"#owner": "owner"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":id": str(o.ID), ":host": str(o.Host), ":since": str(r.stamp(0)),
			":pid": &types.AttributeValueMemberN{Value: strconv.Itoa(o.PID)},
		},
	}
	if !force {
		u.ConditionExpression = aws.String("attribute_not_exists(#owner) OR #owner = :id")
	}
	_, err := r.db.UpdateItem(ctx, u)
	if conditionFailed(err) {
		return r.VerifyOwnership(ctx, o.ID)
	}
	return wrap(err, "record this worker as the owner of the sagas")
}

// VerifyOwnership returns *OwnedError unless the engine with that id owns the
// sagas, and orderstore.ErrNotFound if no owner is recorded.
func (r *Registry) VerifyOwnership(ctx context.Context, id string) error {
	out, err := r.db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &r.table, ConsistentRead: aws.Bool(true), Key: key(ownerItem)})
	if err != nil {
		return fmt.Errorf("read the owner of the sagas from table %s: %w", r.table, err)
	}
	if len(out.Item) == 0 { // the table was recreated, for example; no other worker owns the sagas
		return fmt.Errorf("read the owner of the sagas from table %s: %w", r.table, orderstore.ErrNotFound)
	}
	var o Owner
	if err := attributevalue.UnmarshalMap(out.Item, &o); err != nil {
		return fmt.Errorf("decode the owner of the sagas: %w", err)
	}
	if o.ID != id {
		return &OwnedError{Owner: o}
	}
	return nil
}

// ReleaseOwnership removes the engine with that id as the owner of the sagas. It
// is for an engine whose state is deleted when it stops. It does nothing if
// another engine owns them by now.
func (r *Registry) ReleaseOwnership(ctx context.Context, id string) error {
	_, err := r.db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &r.table, Key: key(ownerItem),
		UpdateExpression: aws.String("REMOVE #owner"), ConditionExpression: aws.String("#owner = :id"),
		ExpressionAttributeNames:  map[string]string{"#owner": "owner"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":id": str(id)},
	})
	if conditionFailed(err) {
		return nil
	}
	return wrap(err, "release the ownership of the sagas")
}

// conditionFailed reports whether DynamoDB rejected a write by its condition.
func conditionFailed(err error) bool {
	_, failed := errors.AsType[*types.ConditionalCheckFailedException](err)
	return failed
}
