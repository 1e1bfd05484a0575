package orderstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// update runs one conditional update. The error is ErrFinished if its condition fails.
func (s *Store) update(ctx context.Context, u *types.Update) error {
	_, err := s.write(ctx, u, types.ReturnValueNone)
	return err
}

// updated is update that returns the order as it is afterwards.
func (s *Store) updated(ctx context.Context, u *types.Update) (Record, error) {
	now, err := s.write(ctx, u, types.ReturnValueAllNew)
	if err != nil {
		return Record{}, err
	}
	return decodeRecord(now)
}

func (s *Store) write(ctx context.Context, u *types.Update, give types.ReturnValue) (item, error) {
	out, err := s.db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: u.TableName, Key: u.Key, UpdateExpression: u.UpdateExpression,
		ConditionExpression: u.ConditionExpression, ExpressionAttributeNames: u.ExpressionAttributeNames,
		ExpressionAttributeValues: u.ExpressionAttributeValues, ReturnValues: give,
	})
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return nil, ErrFinished
	}
	if err != nil {
		return nil, fmt.Errorf("update %s %s: %w", *u.TableName, keyOf(u.Key), err)
	}
	return out.Attributes, nil
}

// set writes one attribute of an existing order.
func (s *Store) set(ctx context.Context, orderID, name string, v types.AttributeValue) error {
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression: aws.String("SET #name = :v, updatedAt = :at"), ConditionExpression: aws.String("attribute_exists(orderId)"),
		ExpressionAttributeNames:  map[string]string{"#name": name},
		ExpressionAttributeValues: map[string]types.AttributeValue{":v": v, ":at": str(s.stamp())},
	})
	if errors.Is(err, ErrFinished) {
		err = ErrNotFound
	}
	return wrap(err, "set %s of order %s", name, orderID)
}

// wrap adds what was attempted to an error; nil stays nil.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
