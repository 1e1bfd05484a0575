package orderstore

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// MarkShipmentRequested records the shipment. It and RequestCancel exclude
// each other: whichever comes first holds. ErrFinished if the order is not
// paid (of its status and its charge both), or is to be cancelled, or refunded,
// or its approval was refused or has expired, or the carrier has refused it.
func (s *Store) MarkShipmentRequested(ctx context.Context, orderID, shipmentID string) error {
	_, err := s.ShipmentRequested(ctx, orderID, shipmentID)
	return err
}

// ShipmentRequested is MarkShipmentRequested, and returns the order as it is then:
// who requests the shipment reads there where it goes.
func (s *Store) ShipmentRequested(ctx context.Context, orderID, shipmentID string) (Record, error) {
	u := unlessRejected(onlyPaid(s.statusUpdate(orderID, order.ShipmentRequested, s.stamp(), nonEmpty("shipmentId", shipmentID))))
	*u.ConditionExpression += notRefunding + " AND (attribute_not_exists(cancelRequested) OR attribute_exists(shipmentId))"
	unlessRefused(u)
	rec, err := s.updated(ctx, u)
	return rec, wrap(s.whyNot(ctx, orderID, err), "mark shipment of order %s", orderID)
}

// unlessRefused adds the condition that the carrier has not refused the order.
func unlessRefused(u *types.Update) {
	*u.ConditionExpression += " AND (attribute_not_exists(#carrier) OR #carrier <> :refused)"
	u.ExpressionAttributeNames["#carrier"], u.ExpressionAttributeValues[":refused"] = "carrier", str(string(Refused))
}
