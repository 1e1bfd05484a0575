// Package fleet records what workers report about themselves: their
// heartbeats, which embedded engine owns the sagas, and how much work there is
// for all of them. Its items are in the orders table, under keys that no order
// can have, so that workers need no table of their own.
package fleet

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// Registry reads and writes the workers' items of one orders table. The zero
// value is not usable: call New. It is safe for concurrent use.
type Registry struct {
	db    orderstore.DynamoDB
	table string
	now   func() time.Time
}

// New returns a registry in the orders table of that name. now is the clock
// that stamps items; nil means time.Now.
func New(db orderstore.DynamoDB, ordersTable string, now func() time.Time) *Registry {
	if now == nil {
		now = time.Now
	}
	return &Registry{db: db, table: ordersTable, now: now}
}

// stamp formats the time that was ago before now.
func (r *Registry) stamp(ago time.Duration) string {
	return r.now().UTC().Add(-ago).Format(orderstore.TimeFormat)
}

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func key(id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"orderId": str(id)}
}

// wrap adds what was attempted to an error. It returns nil for nil.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
