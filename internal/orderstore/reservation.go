package orderstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// HoldState is the state of a reservation.
type HoldState string

// States of a reservation. It is HELD, then SOLD or RELEASED, and stays so: it is the
// durable guard against a step that runs again, however late. Only a refusal by the
// carrier after completion makes a SOLD reservation HELD again, to be RELEASED.
const (
	HoldHeld     HoldState = "HELD"
	HoldSold     HoldState = "SOLD"
	HoldReleased HoldState = "RELEASED"
)

// Reservation records the units that an order holds, has bought or has released.
type Reservation struct {
	OrderID   string         `dynamodbav:"orderId" json:"orderId"`
	State     HoldState      `dynamodbav:"state" json:"state"`
	Items     []order.Demand `dynamodbav:"-" json:"items"`
	UpdatedAt string         `dynamodbav:"updatedAt" json:"updatedAt"`

	ItemsJSON string `dynamodbav:"items" json:"-"`
	ExpiresAt int64  `dynamodbav:"expiresAt,omitempty" json:"-"` // Unix seconds: the table's time to live
}

// ReservationTTL is how long a reservation is kept that is no longer HELD. By then no
// message and no step of its order can still be in flight (see eventIDRetention), and the
// order's record guards a restart.
const ReservationTTL = eventIDRetention

// GetReservation reads the reservation of an order. The error is ErrNotFound if it has
// none.
func (s *Store) GetReservation(ctx context.Context, orderID string) (Reservation, error) {
	item, err := s.getItem(ctx, s.tables.Reservations, "orderId", orderID)
	if err != nil {
		return Reservation{}, fmt.Errorf("read the reservation of order %s: %w", orderID, err)
	}
	return decodeReservation(item)
}

// ListReservations returns a page of up to limit reservations after cursor, in no order.
// An empty next means that it is the last page.
func (s *Store) ListReservations(ctx context.Context, cursor string, limit int) (out []Reservation, next string, err error) {
	items, next, err := s.scan(ctx, s.tables.Reservations, "orderId", cursor, limit)
	if err != nil {
		return nil, "", err
	}
	for _, item := range items {
		r, err := decodeReservation(item)
		if err != nil {
			return nil, "", err
		}
		out = append(out, r)
	}
	return out, next, nil
}

// confirmState returns nil if the reservation is already in the wanted state, which makes
// the call a repetition. Otherwise another call was quicker, and the error is
// ErrFinished.
func (s *Store) confirmState(ctx context.Context, orderID string, want HoldState) error {
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

// moveStock returns the updates that move units from one count of their SKUs to another.
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
	r.ItemsJSON, err = encodeDemand(demand)
	if err != nil {
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
	err := attributevalue.UnmarshalMap(item, &r)
	if err != nil {
		return r, fmt.Errorf("decode the reservation of %s: %w", keyOf(item), err)
	}
	err = json.Unmarshal([]byte(r.ItemsJSON), &r.Items)
	return r, wrap(err, "decode what the reservation of order %s holds", r.OrderID)
}

func encodeDemand(d []order.Demand) (string, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("encode reservation: %w", err)
	}
	return string(b), nil
}
