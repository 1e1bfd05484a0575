package orderstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const installationItem = "#installation" // like probeItem

// OtherInstallationError means that the payment provider has the orders under the name of
// another installation. Their charges would not be found, and would be made again. An
// empty name is none.
type OtherInstallationError struct{ Want, Have string }

func (e *OtherInstallationError) Error() string {
	flag := func(name string) string {
		if name == "" {
			return "no --installation"
		}
		return "--installation " + name
	}
	return fmt.Sprintf("the orders in these tables were accepted with %s, and the payment provider has their charges under it; "+
		"with %s the charges are not found, and may be made again: start with %s (ORDERSAGA_INSTALLATION), "+
		"or with separate tables (--table-prefix)",
		flag(e.Have), flag(e.Want), flag(e.Have))
}

// Install records the name under which the payment provider has the orders. The name of
// the first start holds; it is none if there were orders before a name was recorded.
// Another name returns *OtherInstallationError. While there are no orders, "" is not
// recorded, so that a name can still be set.
func (s *Store) Install(ctx context.Context, name string) error {
	known, err := s.Installed(ctx, name)
	if err != nil || known {
		return err
	}
	if name == "" {
		some, err := s.hasOrders(ctx)
		if err != nil || !some {
			return err
		}
	}
	_, err = s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.tables.Orders, Item: item{"orderId": str(installationItem), "installation": str(name), "installedAt": str(s.stamp())},
		ConditionExpression: aws.String("attribute_not_exists(orderId)"),
	})
	if _, taken := errors.AsType[*types.ConditionalCheckFailedException](err); taken { // another worker's start
		_, err = s.Installed(ctx, name)
	}
	return wrap(err, "record the installation %q", name)
}

// Installed reports whether a name is recorded. It returns *OtherInstallationError if the
// orders belong to an installation with another name.
func (s *Store) Installed(ctx context.Context, name string) (recorded bool, err error) {
	found, err := s.getItem(ctx, s.tables.Orders, "orderId", installationItem)
	if err == nil {
		have, ok := found["installation"].(*types.AttributeValueMemberS)
		if !ok {
			return true, fmt.Errorf("item %s of table %s has no name of an installation", installationItem, s.tables.Orders)
		}
		if have.Value != name {
			return true, &OtherInstallationError{Want: name, Have: have.Value}
		}
		return true, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return false, wrap(err, "read the installation")
	}
	if name == "" {
		return false, nil
	}
	some, err := s.hasOrders(ctx)
	if some && err == nil {
		err = &OtherInstallationError{Want: name}
	}
	return false, err
}

// hasOrders reports whether there is any order.
func (s *Store) hasOrders(ctx context.Context) (bool, error) {
	for cursor := ""; ; {
		some, next, err := s.Scan(ctx, cursor, 100)
		if err != nil || len(some) > 0 || next == "" {
			return len(some) > 0, wrap(err, "look for orders")
		}
		cursor = next
	}
}
