package orderstore

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// MarkShipmentRequested records the shipment. It and RequestCancel exclude each other:
// whichever comes first holds. The error is ErrFinished unless the order is paid, by its
// status and its charge both, and also if it is to be cancelled, is refunded, its
// approval was rejected or has expired, the carrier has refused it, or Record.AwaitsDecision.
func (s *Store) MarkShipmentRequested(ctx context.Context, orderID, shipmentID string) error {
	_, err := s.ShipmentRequested(ctx, orderID, shipmentID)
	return err
}

// ShipmentRequested is MarkShipmentRequested that returns the order as it is afterwards,
// from which the caller reads the address.
func (s *Store) ShipmentRequested(ctx context.Context, orderID, shipmentID string) (Record, error) {
	u := unlessRejected(onlyPaid(s.statusUpdate(orderID, order.ShipmentRequested, s.stamp(), nonEmpty("shipmentId", shipmentID))))
	*u.ConditionExpression += notRefunding + " AND (attribute_not_exists(cancelRequested) OR attribute_exists(shipmentId))"
	unlessRefused(u)
	unlessUndecided(u)
	rec, err := s.updated(ctx, u)
	return rec, wrap(s.explainFinished(ctx, orderID, err), "mark shipment of order %s", orderID)
}

// unlessRefused adds the condition that the carrier has not refused the order.
func unlessRefused(u *types.Update) {
	*u.ConditionExpression += " AND (attribute_not_exists(#carrier) OR #carrier <> :refused)"
	u.ExpressionAttributeNames["#carrier"], u.ExpressionAttributeValues[":refused"] = "carrier", str(string(Refused))
}
