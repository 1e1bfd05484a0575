package orderstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// HoldState is what became of a reservation.
type HoldState string

// A reservation is HELD, then SOLD or RELEASED, and stays there: it is the
// durable guard against a step that runs again, however late. Only a late
// refusal by the carrier makes what is SOLD HELD again, to be RELEASED.
const (
	HoldHeld     HoldState = "HELD"
	HoldSold     HoldState = "SOLD"
	HoldReleased HoldState = "RELEASED"
)

// Reservation is the record of what an order holds.
type Reservation struct {
	OrderID   string         `dynamodbav:"orderId" json:"orderId"`
	State     HoldState      `dynamodbav:"state" json:"state"`
	Items     []order.Demand `dynamodbav:"-" json:"items"`
	UpdatedAt string         `dynamodbav:"updatedAt" json:"updatedAt"`

	ItemsJSON string `dynamodbav:"items" json:"-"`
	ExpiresAt int64  `dynamodbav:"expiresAt,omitempty" json:"-"` // Unix seconds: the table's time to live
}

// ReservationTTL is for how long a reservation is kept that is not HELD any
// more. By then no message and no step of its order can still be under way
// (see remembered), and the order's own record guards what is begun again.
const ReservationTTL = remembered

// Reserved is the outcome of Reserve: held, or which SKUs are short.
type Reserved struct {
	Held      bool
	ShortSKUs []string
	Status    order.Status // of the order, as it is now
	Decision  Decision     // about its approval, if there is one
}

// Reserve holds stock for all SKUs of the order or for none, and moves the
// order to RESERVED. If stock is short, the order becomes REJECTED. A repeated
// call returns the same outcome; a call after the order was released holds
// nothing.
func (s *Store) Reserve(ctx context.Context, o order.Order) (Reserved, error) {
	return s.reserve(ctx, o, order.StockReserved, nil)
}

// ReserveForApproval is Reserve for an order that a person must approve: it moves
// the order to AWAITING_APPROVAL. The backlog does not count the order as work
// for idleFor; 0 counts it.
func (s *Store) ReserveForApproval(ctx context.Context, o order.Order, idleFor time.Duration) (Reserved, error) {
	var idle map[string]types.AttributeValue
	if idleFor > 0 {
		idle = nonEmpty(IdleUntil, s.now().UTC().Add(idleFor).Format(TimeFormat))
	}
	return s.reserve(ctx, o, order.ApprovalRequested, idle)
}

func (s *Store) reserve(ctx context.Context, o order.Order, event order.Event, set map[string]types.AttributeValue) (Reserved, error) {
	demand := o.Demand()
	at := s.stamp()
	res, err := s.reservation(o.OrderID, HoldHeld, demand, at)
	if err != nil {
		return Reserved{}, err
	}
	items := []types.TransactWriteItem{
		{Put: &types.Put{
			TableName: &s.tables.Reservations, Item: res,
			ConditionExpression: aws.String("attribute_not_exists(orderId)"),
		}},
		{Update: s.statusUpdate(o.OrderID, event, at, set)},
	}
	for _, d := range demand {
		items = append(items, types.TransactWriteItem{Update: &types.Update{
			TableName: &s.tables.Stock, Key: map[string]types.AttributeValue{"sku": str(d.SKU)},
			UpdateExpression:          aws.String("SET available = available - :q, reserved = if_not_exists(reserved, :zero) + :q"),
			ConditionExpression:       aws.String("available >= :q"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":q": num(d.Quantity), ":zero": num(0)},
		}})
	}
	failed, err := s.transact(ctx, "reserve stock for order "+o.OrderID, items)
	switch {
	case err != nil:
		return Reserved{}, err
	case len(failed) == 0:
		return Reserved{Held: true, Status: order.To(event)}, nil
	case failed[0] || failed[1]:
		return s.reservedBefore(ctx, o.OrderID)
	}
	var short []string
	for i, d := range demand {
		if failed[2+i] {
			short = append(short, d.SKU)
		}
	}
	return s.reject(ctx, o.OrderID, short)
}

// reservedBefore answers a Reserve whose effect, or whose undoing, is already
// in the tables.
func (s *Store) reservedBefore(ctx context.Context, orderID string) (Reserved, error) {
	rec, err := s.Get(ctx, orderID)
	if err != nil {
		return Reserved{}, err
	}
	res, err := s.GetReservation(ctx, orderID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Reserved{}, err
	}
	return Reserved{Held: err == nil && res.State != HoldReleased, ShortSKUs: rec.ShortSKUs, Status: rec.Status, Decision: rec.Decision}, nil
}

func (s *Store) reject(ctx context.Context, orderID string, short []string) (Reserved, error) {
	u := s.statusUpdate(orderID, order.OutOfStock, s.stamp(), map[string]types.AttributeValue{
		"reason":    str("out of stock: " + strings.Join(short, ", ")),
		"shortSkus": strs(short),
	})
	err := s.update(ctx, u)
	if errors.Is(err, ErrFinished) {
		return s.reservedBefore(ctx, orderID)
	}
	if err != nil {
		return Reserved{}, fmt.Errorf("reject order %s: %w", orderID, err)
	}
	return Reserved{ShortSKUs: short, Status: order.StatusRejected}, nil
}

// Complete moves what the order holds from reserved to sold and completes the
// order. ErrFinished if it is not held and paid (of its status and its charge
// both), or is refunded, or its approval was refused or has expired, or the
// carrier has refused it.
func (s *Store) Complete(ctx context.Context, orderID, shipmentID, trackingID string) error {
	res, err := s.GetReservation(ctx, orderID)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("nothing was reserved: %w", ErrFinished)
	}
	if err != nil {
		return fmt.Errorf("sell stock of order %s: %w", orderID, err)
	}
	switch res.State {
	case HoldSold:
		return nil
	case HoldReleased:
		return fmt.Errorf("sell stock of order %s: its reservation was released: %w", orderID, ErrFinished)
	case HoldHeld:
	}
	failed, err := s.sell(ctx, orderID, shipmentID, trackingID, s.holdUpdate(orderID, HoldSold, s.stamp()), res.Items)
	if err == nil && len(failed) > 0 {
		err = s.whyNot(ctx, orderID, s.settled(ctx, orderID, HoldSold))
	}
	return err
}

// CompleteHolding is Complete for a caller that has what the order holds. It
// saves a read: the transaction requires that the order holds just that, and if
// it does not, Complete decides.
func (s *Store) CompleteHolding(ctx context.Context, orderID, shipmentID, trackingID string, holds []order.Demand) error {
	held, err := encodeDemand(holds)
	if err != nil {
		return err
	}
	hold := s.holdUpdate(orderID, HoldSold, s.stamp())
	*hold.ConditionExpression += " AND #items = :items"
	hold.ExpressionAttributeNames["#items"], hold.ExpressionAttributeValues[":items"] = "items", str(held)
	failed, err := s.sell(ctx, orderID, shipmentID, trackingID, hold, holds)
	if err != nil || len(failed) == 0 {
		return err
	}
	return s.Complete(ctx, orderID, shipmentID, trackingID)
}

func (s *Store) sell(ctx context.Context, orderID, shipmentID, trackingID string, hold *types.Update, demand []order.Demand) (failed []bool, err error) {
	sets := nonEmpty("shipmentId", shipmentID, "trackingId", trackingID)
	complete := unlessRejected(onlyPaid(s.statusUpdate(orderID, order.Completed, s.stamp(), sets)))
	*complete.ConditionExpression += notRefunding + " AND attribute_not_exists(givenUp)"
	unlessRefused(complete)
	items := []types.TransactWriteItem{{Update: hold}, {Update: complete}}
	items = append(items, s.moveStock(demand, "reserved", "sold")...)
	return s.transact(ctx, "sell stock of order "+orderID, items)
}

// Release gives back what the order holds, if anything, and ends the order as
// final. Without a reservation it leaves one that says RELEASED, so that a
// Reserve that comes late finds the door closed. An order that has ended
// otherwise keeps its status, and what it still held is given back; one that
// is COMPLETED is ErrFinished.
func (s *Store) Release(ctx context.Context, orderID string, final order.Status, reason string) error {
	res, err := s.GetReservation(ctx, orderID)
	missing := errors.Is(err, ErrNotFound)
	if err != nil && !missing {
		return fmt.Errorf("release stock of order %s: %w", orderID, err)
	}
	if res.State == HoldSold {
		return fmt.Errorf("release stock of order %s: it is sold: %w", orderID, ErrFinished)
	}
	ended, ok := order.EndedAs(final)
	if !ok {
		return fmt.Errorf("release stock of order %s: no order ends %q without its stock: %w", orderID, final, ErrFinished)
	}
	at := s.stamp()
	end := s.statusUpdate(orderID, ended, at, nonEmpty("reason", reason))
	if res.State == HoldReleased {
		err := s.update(ctx, end)
		if errors.Is(err, ErrFinished) {
			return nil
		}
		return err
	}
	var items []types.TransactWriteItem
	if missing {
		tombstone, err := s.reservation(orderID, HoldReleased, nil, at)
		if err != nil {
			return err
		}
		items = append(items, types.TransactWriteItem{Put: &types.Put{
			TableName: &s.tables.Reservations, Item: tombstone,
			ConditionExpression: aws.String("attribute_not_exists(orderId)"),
		}})
	} else {
		items = append(items, types.TransactWriteItem{Update: s.holdUpdate(orderID, HoldReleased, at)})
	}
	items = append(items, types.TransactWriteItem{Update: end})
	items = append(items, s.moveStock(res.Items, "reserved", "available")...)
	what := "release stock of order " + orderID
	failed, err := s.transact(ctx, what, items)
	if err == nil && len(failed) > 0 && !failed[0] && failed[1] {
		// It has ended without this release, as one that is REJECTED has, or
		// with stock in hand: a leak. What it holds goes back.
		items[1] = types.TransactWriteItem{ConditionCheck: s.endedInVain(orderID)}
		failed, err = s.transact(ctx, what, items)
	}
	if err == nil && len(failed) > 0 {
		err = s.settled(ctx, orderID, HoldReleased)
	}
	return err
}

// endedInVain is the condition that the order has ended and not COMPLETED.
func (s *Store) endedInVain(orderID string) *types.ConditionCheck {
	in := slices.DeleteFunc(order.TerminalStatuses(), func(st order.Status) bool { return st == order.StatusCompleted })
	values := map[string]types.AttributeValue{}
	return &types.ConditionCheck{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		ConditionExpression:      aws.String(statusIn(in, values)),
		ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: values,
	}
}

// settled tells a repetition (the reservation is already in the wanted state)
// from a race that must be tried again.
func (s *Store) settled(ctx context.Context, orderID string, want HoldState) error {
	res, err := s.GetReservation(ctx, orderID)
	if err != nil && !errors.Is(err, ErrNotFound) { // expired: its order ended long ago
		return err
	}
	if res.State == want {
		return nil
	}
	rec, err := s.Get(ctx, orderID)
	if err != nil {
		return err
	}
	return fmt.Errorf("order %s is %s and its reservation %q, wanted %s: %w", orderID, rec.Status, res.State, want, ErrFinished)
}

// GetReservation reads what an order holds, or ErrNotFound.
func (s *Store) GetReservation(ctx context.Context, orderID string) (Reservation, error) {
	item, err := s.getItem(ctx, s.tables.Reservations, "orderId", orderID)
	if err != nil {
		return Reservation{}, fmt.Errorf("reservation of order %s: %w", orderID, err)
	}
	return decodeReservation(item)
}

// moveStock moves pieces from one count of their SKUs to another.
func (s *Store) moveStock(demand []order.Demand, from, to string) []types.TransactWriteItem {
	expression := fmt.Sprintf("SET %[1]s = %[1]s - :q, %[2]s = if_not_exists(%[2]s, :zero) + :q", from, to)
	out := make([]types.TransactWriteItem, len(demand))
	for i, d := range demand {
		out[i].Update = &types.Update{
			TableName: &s.tables.Stock, Key: map[string]types.AttributeValue{"sku": str(d.SKU)},
			UpdateExpression: &expression, ConditionExpression: aws.String(from + " >= :q"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":q": num(d.Quantity), ":zero": num(0)},
		}
	}
	return out
}

func (s *Store) holdUpdate(orderID string, to HoldState, at string) *types.Update {
	return &types.Update{
		TableName: &s.tables.Reservations, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET #state = :to, updatedAt = :at, expiresAt = :expires"),
		ConditionExpression:      aws.String("#state = :held"),
		ExpressionAttributeNames: map[string]string{"#state": "state"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":to": str(string(to)), ":held": str(string(HoldHeld)), ":at": str(at), ":expires": num(s.now().Add(ReservationTTL).Unix()),
		},
	}
}

func (s *Store) reservation(orderID string, state HoldState, demand []order.Demand, at string) (map[string]types.AttributeValue, error) {
	r := Reservation{OrderID: orderID, State: state, UpdatedAt: at}
	if state != HoldHeld {
		r.ExpiresAt = s.now().Add(ReservationTTL).Unix()
	}
	var err error
	if r.ItemsJSON, err = encodeDemand(demand); err != nil {
		return nil, err
	}
	item, err := attributevalue.MarshalMap(r)
	if err != nil {
		return nil, fmt.Errorf("encode reservation of order %s: %w", orderID, err)
	}
	return item, nil
}

func decodeReservation(item map[string]types.AttributeValue) (Reservation, error) {
	var r Reservation
	if err := attributevalue.UnmarshalMap(item, &r); err != nil {
		return r, fmt.Errorf("decode reservation: %w", err)
	}
	var err error
	r.Items, err = decodeDemand(r.ItemsJSON)
	return r, err
}

// update runs one conditional update; ErrFinished when its condition fails.
func (s *Store) update(ctx context.Context, u *types.Update) error {
	_, err := s.write(ctx, u, types.ReturnValueNone)
	return err
}

// updated is update, and returns the order as it is then.
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
		return nil, fmt.Errorf("update %s: %w", *u.TableName, err)
	}
	return out.Attributes, nil
}
