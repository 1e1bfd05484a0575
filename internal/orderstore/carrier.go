package orderstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/text"
)

const carrier = "carrier" // as an actor of notes

// maxParcels is how many tracking ids an order's record keeps. A carrier that
// sends more has lost count, and the record has only so much room.
const maxParcels = 20

// Errors of RecordCarrierAnswer.
var (
	// ErrNotRequested: the answer is about a shipment that the order has not.
	ErrNotRequested = errors.New("no such shipment was requested")
	// ErrTooManyParcels: the order has as many tracking ids as are kept.
	ErrTooManyParcels = errors.New("the order has " + strconv.Itoa(maxParcels) + " parcels already")
)

// CarrierAnswer is what the carrier says about one shipment.
type CarrierAnswer struct {
	ShipmentID string
	Answer     Carrier
	TrackingID string // of a parcel that was dispatched; may be ""
	Reason     string // of a refusal
}

// RecordCarrierAnswer keeps a carrier's answer with the order, and returns the order
// as it was just then. The first answer counts; another one leaves the record
// as it is, except that a further parcel's tracking id is added to the others.
// Whether the answer fits what has become of the order is for the caller to
// see, who has it in the record. Keeping an answer again changes nothing.
//
// It and Complete exclude each other: a refusal comes before the order is COMPLETED,
// and keeps it from being, or after. One that comes after, and is the first
// word of the carrier, reopens the order: it is PAID again, what it bought is
// held again, and reopened is true. Its saga, which has ended or is about to,
// must then be started again, and undoes it. An order that an operator has
// settled is not reopened, nor one whose reservation has expired.
//
// The order must have requested this shipment, else ErrNotRequested;
// ErrNotFound if there is no such order. ErrFinished says that the order was
// changed at the same time: try again. The tracking id and the reason are cut. Of
// an order whose customer was forgotten no reason is kept: it may quote them.
func (s *Store) RecordCarrierAnswer(ctx context.Context, orderID string, a CarrierAnswer) (rec Record, reopened bool, err error) {
	a.TrackingID = text.Cut(a.TrackingID, text.MaxID)
	rec, err = s.keepAnswer(ctx, orderID, a, false)
	if !errors.Is(err, ErrFinished) {
		return rec, false, err
	}
	if rec, err = s.Get(ctx, orderID); err != nil {
		return Record{}, false, err
	}
	switch {
	case rec.ShipmentID == "" || rec.ShipmentID != a.ShipmentID:
		return rec, false, ErrNotRequested
	case rec.Forgotten && a.Reason != "":
		a.Reason = ""
		return s.RecordCarrierAnswer(ctx, orderID, a)
	case rec.Carrier == Dispatched && a.Answer == Dispatched:
		rec, err = s.addParcel(ctx, rec, a.TrackingID)
	case rec.Carrier == "" && a.Answer == Refused && rec.Status.Allows(order.SaleReopened):
		return s.refusedLate(ctx, rec, a)
	case rec.Carrier == "":
		err = fmt.Errorf("keep the carrier's answer about order %s, which has changed meanwhile: %w", orderID, ErrFinished)
	}
	return rec, false, err
}

// keepAnswer writes the first answer into the record of an order that has
// requested this shipment, else ErrFinished. Unless late, a refusal is only
// kept while the order is not COMPLETED.
func (s *Store) keepAnswer(ctx context.Context, orderID string, a CarrierAnswer, late bool) (Record, error) {
	at := s.stamp()
	u := &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET #carrier = :said, updatedAt = :at"),
		ConditionExpression:      aws.String("shipmentId = :shipment AND attribute_not_exists(#carrier)"),
		ExpressionAttributeNames: map[string]string{"#carrier": "carrier"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":said": str(string(a.Answer)), ":at": str(at), ":shipment": str(a.ShipmentID),
		},
	}
	if a.Answer == Dispatched && a.TrackingID != "" {
		*u.UpdateExpression += ", trackingId = :tracking, trackingIds = :trackings"
		u.ExpressionAttributeValues[":tracking"] = str(a.TrackingID)
		u.ExpressionAttributeValues[":trackings"] = strs([]string{a.TrackingID})
	}
	if a.Answer == Refused {
		if err := appendRefusal(u, a, at); err != nil {
			return Record{}, err
		}
		if !late {
			*u.ConditionExpression += " AND NOT " + allows(order.SaleReopened, u.ExpressionAttributeValues)
			u.ExpressionAttributeNames["#status"] = "status"
		}
	}
	*u.UpdateExpression += " REMOVE asleepUntil" // a saga that was given up waiting goes on
	rec, err := s.updated(ctx, u)
	return rec, wrap(err, "keep the carrier's answer about order %s", orderID)
}

// appendRefusal has an update keep what the carrier says about why, unless the
// customer was forgotten.
func appendRefusal(u *types.Update, a CarrierAnswer, at string) error {
	if a.Reason != "" {
		*u.ConditionExpression += " AND attribute_not_exists(forgotten)"
	}
	return appendNote(u, Note{At: at, Actor: carrier, Action: noteRefused, Text: a.Reason})
}

// addParcel adds a tracking id to those that the order has.
func (s *Store) addParcel(ctx context.Context, rec Record, trackingID string) (Record, error) {
	known := rec.Parcels()
	switch {
	case trackingID == "" || slices.Contains(known, trackingID):
		return rec, nil
	case len(known) >= maxParcels:
		return rec, ErrTooManyParcels
	}
	u := &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(rec.OrderID)},
		UpdateExpression:    aws.String("SET trackingId = if_not_exists(trackingId, :id), trackingIds = list_append(if_not_exists(trackingIds, :known), :ids), updatedAt = :at"),
		ConditionExpression: aws.String("attribute_exists(orderId) AND (attribute_not_exists(trackingIds) OR (NOT contains(trackingIds, :id) AND size(trackingIds) < :max))"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":id": str(trackingID), ":known": strs(known), ":ids": strs([]string{trackingID}), ":at": str(s.stamp()), ":max": num(maxParcels),
		},
	}
	now, err := s.updated(ctx, u)
	return now, wrap(err, "add a parcel to order %s", rec.OrderID)
}

// refusedLate takes the refusal of an order that is COMPLETED and of which the
// carrier had not said anything.
func (s *Store) refusedLate(ctx context.Context, rec Record, a CarrierAnswer) (_ Record, reopened bool, err error) {
	// A tracking id came from the carrier too, by way of a durable-task client.
	if !rec.ManuallyResolved() && rec.TrackingID == "" {
		reopened, err = s.reopen(ctx, rec.OrderID, a)
	}
	if err == nil && !reopened {
		rec, err = s.keepAnswer(ctx, rec.OrderID, a, true)
	} else if err == nil {
		rec, err = s.Get(ctx, rec.OrderID)
	}
	return rec, reopened, err
}

// reopen takes a sale back, so that it can be undone: the order is PAID and
// refused, and what was sold is held. It reports false if there is nothing to
// take back, or not any more, or if its stock was counted since it was sold.
func (s *Store) reopen(ctx context.Context, orderID string, a CarrierAnswer) (bool, error) {
	res, err := s.GetReservation(ctx, orderID)
	if errors.Is(err, ErrNotFound) || err == nil && res.State != HoldSold {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	at := s.stamp()
	again := s.statusUpdate(orderID, order.SaleReopened, at, nonEmpty("carrier", string(Refused)))
	*again.ConditionExpression += notRefunding + " AND shipmentId = :shipment AND attribute_not_exists(#carrier) AND attribute_not_exists(trackingId)"
	again.ExpressionAttributeValues[":shipment"] = str(a.ShipmentID)
	if err := appendRefusal(again, a, at); err != nil {
		return false, err
	}
	hold := &types.Update{
		TableName: &s.tables.Reservations, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET #state = :held, updatedAt = :at REMOVE expiresAt"),
		ConditionExpression:      aws.String("#state = :sold"),
		ExpressionAttributeNames: map[string]string{"#state": "state"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":held": str(string(HoldHeld)), ":sold": str(string(HoldSold)), ":at": str(at),
		},
	}
	items := []types.TransactWriteItem{{Update: hold}, {Update: again}}
	for _, back := range s.moveStock(res.Items, "sold", "reserved") {
		// A count since then may include these pieces.
		*back.Update.ConditionExpression += " AND (attribute_not_exists(countedAt) OR countedAt < :soldAt)"
		back.Update.ExpressionAttributeValues[":soldAt"] = str(res.UpdatedAt)
		items = append(items, back)
	}
	failed, err := s.transact(ctx, "reopen order "+orderID, items)
	return err == nil && len(failed) == 0, err
}

// RefusedFor is the carrier's reason for its latest refusal, discreet.
func (r Record) RefusedFor() (why string) {
	for _, n := range r.Notes {
		if n.Actor == carrier && n.Action == noteRefused {
			why = r.Redact(n.Text)
		}
	}
	return why
}
