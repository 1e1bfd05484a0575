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

// OtherInstallationError says that the payment provider knows the orders under
// another installation's name: their charges would not be found, and made again.
type OtherInstallationError struct{ Want, Have string }

func (e *OtherInstallationError) Error() string {
	told := func(name string) string {
		if name == "" {
			return "no --installation"
		}
		return "--installation " + name
	}
	return fmt.Sprintf("the orders in these tables were accepted with %s, and the payment provider knows them so; with %s their charges are not found, and may be made again: start with %s (ORDERSAGA_INSTALLATION), or with tables of its own (--table-prefix)",
		told(e.Have), told(e.Want), told(e.Have))
}

// Install records the name under which the payment provider knows the orders, or
// returns *OtherInstallationError: it is that of the first start, and none if
// there were orders before anybody had recorded one. While there are no orders,
// "" is not recorded, so that a name may still be given.
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

// Installed returns *OtherInstallationError if the orders are of an installation
// of another name, and whether one was recorded.
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
