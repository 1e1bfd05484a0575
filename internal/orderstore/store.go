// Package orderstore keeps stock, reservations and the orders read model in
// DynamoDB. Each change a saga step makes is one transaction over all three,
// so that they never disagree, and each may be repeated: the reservation
// record, not a client token, is what makes a second run a no-op (tokens are
// forgotten after ten minutes).
package orderstore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/ordersaga/ordersaga/internal/coalesce"
)

// DynamoDB is what the store uses of *dynamodb.Client.
type DynamoDB interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
	UpdateTable(context.Context, *dynamodb.UpdateTableInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTableOutput, error)
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
	DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error)
	UpdateTimeToLive(context.Context, *dynamodb.UpdateTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTimeToLiveOutput, error)
}

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("not found")
	// ErrConflict: the order id is taken by an order with other content; a
	// *ConflictError says which.
	ErrConflict = errors.New("order id is already used by a different order")
	// ErrFinished: the order has ended, or is past the step that was asked for.
	ErrFinished = errors.New("order is past this step")
)

// Store is the three tables. It is safe for concurrent use.
type Store struct {
	db     DynamoDB
	orders *coalesce.Batcher[string, item]
	tables Tables
	now    func() time.Time
	dated  atomic.Bool // datedItem is there, and never goes again
	filled atomic.Bool // see BackfillTimeIndex
}

// Tables names the tables.
type Tables struct{ Stock, Reservations, Orders string }

// TablesWithPrefix is the usual names behind an optional prefix.
func TablesWithPrefix(prefix string) Tables {
	return Tables{Stock: prefix + "stock", Reservations: prefix + "reservations", Orders: prefix + "orders"}
}

// New makes a store. now is the clock that stamps records; nil means time.Now.
func New(db DynamoDB, tables Tables, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{db: db, orders: readOrders(db, tables.Orders), tables: tables, now: now}
}

func (s *Store) stamp() string { return s.now().UTC().Format(TimeFormat) }
