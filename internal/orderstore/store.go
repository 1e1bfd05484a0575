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

// options is the type of the options of a request.
type options = func(*dynamodb.Options)

// DynamoDB is the part of *dynamodb.Client that the store uses.
type DynamoDB interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...options) (*dynamodb.GetItemOutput, error)
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...options) (*dynamodb.BatchGetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...options) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...options) (*dynamodb.UpdateItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...options) (*dynamodb.QueryOutput, error)
	Scan(context.Context, *dynamodb.ScanInput, ...options) (*dynamodb.ScanOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...options) (*dynamodb.TransactWriteItemsOutput, error)
	UpdateTable(context.Context, *dynamodb.UpdateTableInput, ...options) (*dynamodb.UpdateTableOutput, error)
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...options) (*dynamodb.CreateTableOutput, error)
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...options) (*dynamodb.DescribeTableOutput, error)
	DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...options) (*dynamodb.DescribeTimeToLiveOutput, error)
	UpdateTimeToLive(context.Context, *dynamodb.UpdateTimeToLiveInput, ...options) (*dynamodb.UpdateTimeToLiveOutput, error)
}

// Errors that callers distinguish.
var (
	// ErrNotFound means that no such item exists.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that the order id belongs to an order with different content;
	// a *ConflictError names the differences.
	ErrConflict = errors.New("order id is already used by a different order")
	// ErrFinished means that the order has ended, or is past the requested step.
	ErrFinished = errors.New("order is past this step")
)

// Store reads and writes the three tables. The zero value is not usable: call New. It is
// safe for concurrent use.
type Store struct {
	db     DynamoDB
	orders *coalesce.Batcher[string, item]
	tables Tables
	now    func() time.Time
	dated  atomic.Bool // datedItem is there, and never goes again
	filled atomic.Bool // see BackfillTimeIndex
}

// Tables has the names of the tables.
type Tables struct{ Stock, Reservations, Orders string }

// TablesWithPrefix returns the standard table names behind prefix, which may be empty.
func TablesWithPrefix(prefix string) Tables {
	return Tables{Stock: prefix + "stock", Reservations: prefix + "reservations", Orders: prefix + "orders"}
}

// New returns a store. now is the clock that stamps records; nil means time.Now.
func New(db DynamoDB, tables Tables, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{db: db, orders: readOrders(db, tables.Orders), tables: tables, now: now}
}

func (s *Store) stamp() string { return s.now().UTC().Format(TimeFormat) }
