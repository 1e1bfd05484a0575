// Package orderstore keeps stock, reservations and the orders read model in
// DynamoDB. Each change a saga step makes is one transaction over all three,
// so that they never disagree, and each may be repeated: the reservation
// record, not a client token, is what makes a second run a no-op (tokens are
// forgotten after ten minutes).
package orderstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/coalesce"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/text"
	"github.com/ordersaga/ordersaga/internal/tracing"
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

// ConflictError is ErrConflict with what differs.
type ConflictError struct{ Fields []string } // as in the order's JSON

func (e *ConflictError) Error() string {
	return ErrConflict.Error() + ", which has another " + strings.Join(e.Fields, ", ")
}

// Unwrap makes it ErrConflict.
func (e *ConflictError) Unwrap() error { return ErrConflict }

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

// Record is an order in the read model.
type Record struct {
	OrderID         string         `dynamodbav:"orderId" json:"orderId"`
	CustomerID      string         `dynamodbav:"customerId" json:"customerId"`
	Status          order.Status   `dynamodbav:"status" json:"status"`
	Reason          string         `dynamodbav:"reason,omitempty" json:"reason,omitempty"`
	ShortSKUs       []string       `dynamodbav:"shortSkus,omitempty" json:"shortSkus,omitempty"`
	Currency        string         `dynamodbav:"currency" json:"currency"`
	Total           int64          `dynamodbav:"total" json:"total"`
	Lines           []order.Line   `dynamodbav:"-" json:"lines"`
	Shipping        int64          `dynamodbav:"-" json:"shipping,omitempty"`
	Tax             int64          `dynamodbav:"-" json:"tax,omitempty"`
	Discount        int64          `dynamodbav:"-" json:"discount,omitempty"`
	ShipTo          *order.Address `dynamodbav:"-" json:"shipTo,omitempty"`
	CreatedAt       time.Time      `dynamodbav:"-" json:"createdAt"`
	UpdatedAt       time.Time      `dynamodbav:"-" json:"updatedAt"`
	ChargeID        string         `dynamodbav:"chargeId,omitempty" json:"chargeId,omitempty"`
	RefundID        string         `dynamodbav:"refundId,omitempty" json:"refundId,omitempty"`
	ShipmentID      string         `dynamodbav:"shipmentId,omitempty" json:"shipmentId,omitempty"`
	TrackingID      string         `dynamodbav:"trackingId,omitempty" json:"trackingId,omitempty"`
	TrackingIDs     []string       `dynamodbav:"trackingIds,omitempty" json:"trackingIds,omitempty"`
	Carrier         Carrier        `dynamodbav:"carrier,omitempty" json:"carrier,omitempty"` // its first answer, which counts
	CancelRequested bool           `dynamodbav:"cancelRequested,omitempty" json:"cancelRequested,omitempty"`
	Decision        Decision       `dynamodbav:"decision,omitempty" json:"decision,omitempty"` // about its approval
	Notes           []Note         `dynamodbav:"notes,omitempty" json:"notes,omitempty"`
	Forgotten       bool           `dynamodbav:"forgotten,omitempty" json:"forgotten,omitempty"` // see Forget

	Refunding   bool     `dynamodbav:"refunding,omitempty" json:"-"`         // see MarkRefunding
	Queued      bool     `dynamodbav:"queued,omitempty" json:"-"`            // see AcceptQueued
	Resolution  string   `dynamodbav:"resolution,omitempty" json:"-"`        // see Resolve
	GivenUp     bool     `dynamodbav:"givenUp,omitempty" json:"-"`           // see MarkAbandoned
	Terminated  string   `dynamodbav:"sagaTerminated,omitempty" json:"-"`    // see MarkTerminated
	Token       string   `dynamodbav:"token,omitempty" json:"-"`             // gone once the order ends
	IdleUntil   string   `dynamodbav:"asleepUntil,omitempty" json:"-"`       // see Load
	Settled     []string `dynamodbav:"settled,stringset,omitempty" json:"-"` // the steps about which Resolve has kept a decision other than retry; see also MarkStepDone
	Trace       string   `dynamodbav:"trace,omitempty" json:"-"`             // W3C trace context of what accepted it
	Fingerprint string   `dynamodbav:"fingerprint" json:"-"`
	Content     string   `dynamodbav:"content" json:"-"` // the order without its token, JSON
	Created     string   `dynamodbav:"createdAt" json:"-"`
	Updated     string   `dynamodbav:"updatedAt" json:"-"`
	Placed      string   `dynamodbav:"placed" json:"-"` // sort key of the indexes: time and id
	StatusShard string   `dynamodbav:"statusShard" json:"-"`
	TimeShard   string   `dynamodbav:"timeShard,omitempty" json:"-"` // "": see BackfillTimeIndex
}

// Note is what an operator did and why.
type Note struct {
	At     string `dynamodbav:"at" json:"at"`
	Actor  string `dynamodbav:"actor" json:"actor"`
	Action string `dynamodbav:"action" json:"action"`
	Text   string `dynamodbav:"text" json:"text,omitempty"`
	// Subject is the issuer's name for the actor, which never changes; "" for who
	// did not have to say.
	Subject string `dynamodbav:"subject,omitempty" json:"subject,omitempty"`
	// For is on whose behalf a cancel was requested; "" is Shop.
	For OnBehalf `dynamodbav:"for,omitempty" json:"for,omitempty"`
}

// OnBehalf is for whom an order is cancelled.
type OnBehalf string

// For whom.
const (
	Customer OnBehalf = "customer"
	Shop     OnBehalf = "shop"
)

// NoteCancel is the action of the note of RequestCancel, NoteApprove, NoteReject
// and NoteExpire are those of the notes of Decide, noteRefused that of the note
// of a refusal, and noteFlagged that of Flag.
const (
	NoteCancel  = "cancel"
	NoteApprove = "approve"
	NoteReject  = "reject"
	NoteExpire  = "expire"
	noteRefused = "refuse"
	noteFlagged = "flagged"
)

// Anonymous is the actor of a note of which nobody said whose it is.
const Anonymous = "anonymous"

// Decision is what was decided about an order above the approval limit.
type Decision string

// Decisions.
const (
	Approved Decision = "approved"
	Rejected Decision = "rejected"
	Expired  Decision = "expired" // nobody decided in time
)

// Carrier is what the carrier has answered.
type Carrier string

// Answers of the carrier.
const (
	Dispatched Carrier = "dispatched"
	Refused    Carrier = "refused"
)

// Redact leaves out of what a carrier says where the order goes, and to whom: it
// may quote the address or a word of it, in capitals as on a label, or the phone
// number in another spelling, and its words end in logs and in the saga's history.
// Once that was forgotten, nobody can say what is one.
func (r Record) Redact(said string) string {
	if r.Forgotten {
		return ""
	}
	if r.ShipTo == nil {
		return said
	}
	a := *r.ShipTo
	phones := []string{a.Phone}
	for _, of := range []string{a.Name, a.Line1, a.Line2} { // "mobile 0171 123456", where a shop has no field for it
		if len(text.Digits(of)) >= 7 {
			phones = append(phones, of)
		}
	}
	said = text.HidePhones(said, phones, hiddenAddress)
	var secret []string
	for _, of := range []string{a.Name, a.Line1, a.Line2, a.PostalCode, a.City, a.Region, a.Phone} {
		if len(of) > 2 { // less is in any text
			said = regexp.MustCompile("(?i)"+regexp.QuoteMeta(of)).ReplaceAllLiteralString(said, hiddenAddress)
		}
		for _, word := range strings.FieldsFunc(of, noWord) {
			if len(word) > 2 {
				secret = append(secret, word)
			}
		}
	}
	var out strings.Builder
	for len(said) > 0 {
		end := strings.IndexFunc(said, noWord)
		if end < 0 {
			end = len(said)
		}
		word := said[:end]
		if slices.ContainsFunc(secret, func(s string) bool { return strings.EqualFold(s, word) }) {
			word = hiddenAddress
		}
		out.WriteString(word)
		said = said[end:]
		if said != "" {
			_, size := utf8.DecodeRuneInString(said)
			out.WriteString(said[:size])
			said = said[size:]
		}
	}
	return out.String()
}

// hiddenAddress is in the place of what Redact leaves out.
const hiddenAddress = "(address)"

func noWord(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c) }

// RefusedFor is the carrier's reason for its latest refusal, discreet.
func (r Record) RefusedFor() (why string) {
	for _, n := range r.Notes {
		if n.Actor == carrier && n.Action == noteRefused {
			why = r.Redact(n.Text)
		}
	}
	return why
}

// CancelledBy is what the note says with which cancel was requested.
func (r Record) CancelledBy() (by, why string) {
	n := r.note(NoteCancel)
	return strings.TrimPrefix(n.Actor, Anonymous), n.Text
}

// CancelledFor is on whose behalf cancel was requested.
func (r Record) CancelledFor() OnBehalf { return cmp.Or(r.note(NoteCancel).For, Shop) }

// DecidedBy is what the note says with which it was decided about the approval.
func (r Record) DecidedBy() (by, why string) {
	n := r.note(NoteApprove, NoteReject, NoteExpire)
	return strings.TrimPrefix(n.Actor, Anonymous), n.Text
}

// ResolvedBy is what the note says with which an operator has decided how the
// order goes on.
func (r Record) ResolvedBy() (by, why string) {
	for _, n := range r.Notes {
		if n.Action == r.Resolution {
			by, why = strings.TrimPrefix(n.Actor, Anonymous), n.Text
		}
	}
	return by, why
}

// Decided says what was decided about the approval, when, by whom and why, or
// "": nothing yet.
func (r Record) Decided() string {
	n := r.note(NoteApprove, NoteReject, NoteExpire)
	switch by := strings.TrimPrefix(n.Actor, Anonymous); {
	case r.Decision == "":
		return ""
	case r.Decision == Expired:
		return "the approval expired at " + n.At + ": " + n.Text
	case by == "":
		return "the order was " + string(r.Decision) + " before, at " + n.At
	default:
		return "the order was " + string(r.Decision) + " before by " + by + ", at " + n.At
	}
}

// note is the first of one of the actions.
func (r Record) note(actions ...string) Note {
	for _, n := range r.Notes {
		if slices.Contains(actions, n.Action) {
			return n
		}
	}
	return Note{}
}

// ManuallyResolved reports whether an operator has decided, or tried to, about a parked
// step: money or parcels may then be right though the ledgers alone do not say
// so.
func (r Record) ManuallyResolved() bool {
	return slices.ContainsFunc(r.Notes, func(n Note) bool {
		return n.Action == "skip" || n.Action == "resolve" || n.Action == "compensate"
	})
}

// Order rebuilds the order as it was accepted, with its token as long as the
// saga lives.
func (r Record) Order() (order.Order, error) {
	o, err := decodeContent(r.Content)
	o.Payment.Token = r.Token
	return o, err
}

func (s *Store) stamp() string { return s.now().UTC().Format(TimeFormat) }

// Accept records a new order as PENDING. If the id is taken it returns the
// record that has it: created is false when the content is the same (a
// redelivery), and the error is ErrConflict when it is not.
func (s *Store) Accept(ctx context.Context, o order.Order) (rec Record, created bool, err error) {
	return s.accept(ctx, o, false)
}

// AcceptQueued is Accept for an order whose saga somebody starts later, who
// takes it from the queue: until then it is PENDING and has none.
func (s *Store) AcceptQueued(ctx context.Context, o order.Order) (rec Record, created bool, err error) {
	return s.accept(ctx, o, true)
}

func (s *Store) accept(ctx context.Context, o order.Order, queued bool) (rec Record, created bool, err error) {
	content, err := encodeContent(o)
	if err != nil {
		return Record{}, false, err
	}
	at := s.stamp()
	rec = Record{
		OrderID: o.OrderID, CustomerID: o.CustomerID, Status: order.To(order.Accepted), Queued: queued,
		Currency: o.Currency, Total: o.Total(), Token: o.Payment.Token, Trace: tracing.Parent(ctx), Fingerprint: o.Fingerprint(),
		Content: content, Created: at, Updated: at, Placed: at + "#" + o.OrderID,
		StatusShard: statusShard(order.To(order.Accepted), o.OrderID), TimeShard: timeShard(o.OrderID),
	}
	item, err := attributevalue.MarshalMap(rec)
	if err != nil {
		return Record{}, false, fmt.Errorf("encode order %s: %w", o.OrderID, err)
	}
	_, err = s.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.tables.Orders, Item: item,
		ConditionExpression:                 aws.String("attribute_not_exists(orderId)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if taken, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		// An emulator may not return the old item; AWS does.
		if len(taken.Item) == 0 {
			rec, err = s.Get(ctx, o.OrderID)
		} else {
			rec, err = decodeRecord(taken.Item)
		}
		if err == nil {
			err = rec.repeated(o)
		}
		return rec, false, err
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("accept order %s: %w", o.OrderID, err)
	}
	return rec.filled(), true, nil
}

// repeated returns a *ConflictError unless o is the recorded order once more.
func (r Record) repeated(o order.Order) error {
	if r.Forgotten { // what is left must be the same
		o = o.ForHistory()
	} else if r.Fingerprint == o.Fingerprint() {
		return nil
	}
	was, err := r.Order()
	if err != nil {
		return err
	}
	// The token is gone once the order has ended. The fingerprint knows it.
	as := was
	as.Payment = o.Payment
	if as.Fingerprint() == r.Fingerprint {
		was = as
	}
	if fields := order.Differences(was, o); len(fields) > 0 {
		return &ConflictError{fields}
	}
	return nil
}
