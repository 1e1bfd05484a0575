package orderstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Reserved is the outcome of Reserve: Held, or ShortSKUs with the SKUs that are out of
// stock. Sold means that the order was completed, and its record lost and written again;
// see MarkSold.
type Reserved struct {
	Held      bool
	Sold      bool
	ShortSKUs []string
	Status    order.Status // of the order, as it is now
	Decision  Decision     // about its approval, if there is one
}

// Reserve holds stock for all SKUs of the order or for none, and moves the order to
// RESERVED. If stock is short, the order becomes REJECTED. A repetition returns the same
// outcome; after the order was released it holds nothing.
func (s *Store) Reserve(ctx context.Context, o order.Order) (Reserved, error) {
	return s.reserve(ctx, o, order.StockReserved, nil)
}

// ReserveForApproval is Reserve for an order that a person must approve: it moves the
// order to AWAITING_APPROVAL. The backlog does not count the order as work for idleFor; 0
// counts it.
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

// reservedBefore answers a Reserve whose effect, or whose compensation, is already in the
// tables.
func (s *Store) reservedBefore(ctx context.Context, orderID string) (Reserved, error) {
	rec, err := s.Get(ctx, orderID)
	if err != nil {
		return Reserved{}, err
	}
	res, err := s.GetReservation(ctx, orderID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Reserved{}, err
	}
	held := err == nil && res.State != HoldReleased ||
		err != nil && rec.ShipmentID != "" && !rec.Status.Terminal() // it is lost: see Complete
	return Reserved{
		Held: held, Sold: res.State == HoldSold && rec.Status.Allows(order.SaleFound),
		ShortSKUs: rec.ShortSKUs, Status: rec.Status, Decision: rec.Decision,
	}, nil
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
