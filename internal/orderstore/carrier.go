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

// carrier is the actor of the notes about the carrier's answers.
const carrier = "carrier" // as an actor of notes

// maxParcels limits the tracking ids in an order's record, whose size is limited. Further
// ids are rejected.
const maxParcels = 20

// Errors of RecordCarrierAnswer, besides ErrNotFound and ErrFinished.
var (
	// ErrNotRequested means that the order has not requested the answered shipment.
	ErrNotRequested = errors.New("no such shipment was requested")
	// ErrTooManyParcels means that the order has as many tracking ids as its record takes.
	ErrTooManyParcels = errors.New("the order has " + strconv.Itoa(maxParcels) + " parcels already")
)

// CarrierAnswer is the carrier's answer about one shipment. Answer is required.
// TrackingID, of a parcel that was dispatched, and Reason, of a refusal, may be empty.
type CarrierAnswer struct {
	ShipmentID string
	Answer     Carrier
	TrackingID string // of a parcel that was dispatched; may be ""
	Reason     string // of a refusal
}

// RecordCarrierAnswer records a carrier's answer with its order, and returns the order as
// it was at that moment. The first answer counts. A later one leaves the record as it is,
// except that the tracking id of a further parcel is added. The caller compares the
// answer with the record and handles a contradiction. Recording an answer again changes
// nothing.
//
// It and Complete exclude each other: a refusal is recorded either before the order is
// COMPLETED, and prevents that, or after. A refusal after completion that is the
// carrier's first answer reopens the order: it is PAID again, what it bought is reserved
// again, and reopened is true. Its saga, which has ended or is about to, must then be
// restarted, and compensates. An order is not reopened if an operator has resolved it, or
// if its reservation has expired.
//
// The error is ErrNotFound without such an order, ErrNotRequested if the order has not
// requested this shipment, and ErrFinished if the order was changed at the same time:
// retry. The tracking id and the reason are cut to their limits. If the customer was
// erased, no reason is recorded, because it may quote personal data.
func (s *Store) RecordCarrierAnswer(ctx context.Context, orderID string, a CarrierAnswer) (rec Record, reopened bool, err error) {
	a.TrackingID = text.Cut(a.TrackingID, text.MaxID)
	rec, err = s.recordAnswer(ctx, orderID, a, false)
	if !errors.Is(err, ErrFinished) {
		return rec, false, err
	}
	rec, err = s.Get(ctx, orderID)
	if err != nil {
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
		return s.refuseCompleted(ctx, rec, a)
	case rec.Carrier == "":
		err = fmt.Errorf("record the carrier's answer about order %s, which has changed meanwhile: %w", orderID, ErrFinished)
	}
	return rec, false, err
}

// recordAnswer writes the first answer into the record of an order that has requested
// this shipment; otherwise it returns ErrFinished. Unless late, a refusal is recorded
// only while the order is not COMPLETED.
func (s *Store) recordAnswer(ctx context.Context, orderID string, a CarrierAnswer, late bool) (Record, error) {
	at := s.stamp()
	u := &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET #carrier = :answer, updatedAt = :at"),
		ConditionExpression:      aws.String("shipmentId = :shipment AND attribute_not_exists(#carrier)"),
		ExpressionAttributeNames: map[string]string{"#carrier": "carrier"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":answer": str(string(a.Answer)), ":at": str(at), ":shipment": str(a.ShipmentID),
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
	*u.UpdateExpression += " REMOVE asleepUntil" // a saga parked for want of the answer continues
	rec, err := s.updated(ctx, u)
	return rec, wrap(err, "record the carrier's answer about order %s", orderID)
}

// appendRefusal makes an update record the reason of a refusal. The update then requires
// that the customer was not erased.
func appendRefusal(u *types.Update, a CarrierAnswer, at string) error {
	if a.Reason != "" {
		*u.ConditionExpression += " AND attribute_not_exists(forgotten)"
	}
	return appendNote(u, Note{At: at, Actor: carrier, Action: noteRefused, Text: a.Reason})
}

// addParcel adds a tracking id to those of the order.
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
		UpdateExpression: aws.String("SET trackingId = if_not_exists(trackingId, :id), " +
			"trackingIds = list_append(if_not_exists(trackingIds, :known), :ids), updatedAt = :at"),
		ConditionExpression: aws.String("attribute_exists(orderId) AND (attribute_not_exists(trackingIds) OR " +
			"(NOT contains(trackingIds, :id) AND size(trackingIds) < :max))"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":id": str(trackingID), ":known": strs(known), ":ids": strs([]string{trackingID}), ":at": str(s.stamp()), ":max": num(maxParcels),
		},
	}
	now, err := s.updated(ctx, u)
	return now, wrap(err, "add a parcel to order %s", rec.OrderID)
}

// refuseCompleted records the refusal of a COMPLETED order about which the carrier had
// not answered before.
func (s *Store) refuseCompleted(ctx context.Context, rec Record, a CarrierAnswer) (_ Record, reopened bool, err error) {
	// A tracking id came from the carrier, too, through a durable-task client.
	if !rec.ManuallyResolved() && rec.TrackingID == "" {
		reopened, err = s.reopen(ctx, rec.OrderID, a)
	}
	if err == nil && !reopened {
		rec, err = s.recordAnswer(ctx, rec.OrderID, a, true)
	} else if err == nil {
		rec, err = s.Get(ctx, rec.OrderID)
	}
	return rec, reopened, err
}

// reopen takes a sale back so that it can be compensated: the order is PAID and refused,
// and what was sold is reserved. It reports false if there is nothing to take back, or no
// longer, or if the stock was counted since the sale.
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
	*again.ConditionExpression += notRefunding + " AND shipmentId = :shipment" +
		" AND attribute_not_exists(#carrier) AND attribute_not_exists(trackingId)"
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
		// A stocktake since then may include these units.
		*back.Update.ConditionExpression += " AND (attribute_not_exists(countedAt) OR countedAt < :soldAt)"
		back.Update.ExpressionAttributeValues[":soldAt"] = str(res.UpdatedAt)
		items = append(items, back)
	}
	failed, err := s.transact(ctx, "reopen order "+orderID, items)
	return err == nil && len(failed) == 0, err
}

// RefusedFor returns the redacted reason of the carrier's latest refusal; "" if there is
// none.
func (r Record) RefusedFor() (why string) {
	for _, n := range r.Notes {
		if n.Actor == carrier && n.Action == noteRefused {
			why = r.Redact(n.Text)
		}
	}
	return why
}
