package orderstore

import (
	"context"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Decision is the outcome of the approval of an order above the approval limit.
type Decision string

// Decisions.
const (
	Approved Decision = "approved"
	Rejected Decision = "rejected"
	Expired  Decision = "expired" // no decision in time
)

// Decide records the decision about the order's approval; n has by whom and why. The
// first decision holds. The error is ErrFinished if the order does not await one, has
// one, or is to be cancelled.
func (s *Store) Decide(ctx context.Context, orderID string, d Decision, n Note) error {
	err := s.recordOnce(ctx, orderID, d.event(), "decision", str(string(d)), n, "attribute_not_exists(cancelRequested)", nil)
	return wrap(err, "record the approval decision of order %s", orderID)
}

// event returns the event of order.Transitions that records the decision.
func (d Decision) event() order.Event {
	switch d {
	case Approved:
		return order.Approved
	case Rejected:
		return order.ApprovalRejected
	default:
		return order.ApprovalExpired
	}
}

// recordOnce records an event that sets an attribute once, with a note, while no shipment was
// requested. and is a further condition; more has its values.
func (s *Store) recordOnce(ctx context.Context, orderID string, e order.Event, name string, v types.AttributeValue, n Note,
	and string, more map[string]types.AttributeValue,
) error {
	n.At = s.stamp()
	note, err := encodeNotes(n)
	if err != nil {
		return err
	}
	values := map[string]types.AttributeValue{":v": v, ":at": str(n.At), ":none": noNotes, ":note": note}
	maps.Copy(values, more)
	return s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression: aws.String("SET #name = :v, updatedAt = :at, notes = list_append(if_not_exists(notes, :none), :note)" +
			" REMOVE asleepUntil"),
		ConditionExpression: aws.String(allows(e, values) +
			" AND attribute_not_exists(shipmentId) AND attribute_not_exists(#name) AND " + and),
		ExpressionAttributeNames: map[string]string{"#name": name, "#status": "status"}, ExpressionAttributeValues: values,
	})
}

// unlessRejected adds the condition that the order's approval was neither rejected nor
// has expired. Such a decision binds, whatever the saga does. An order without a decision
// needed none, or its saga is of a version that recorded none.
func unlessRejected(u *types.Update) *types.Update {
	*u.ConditionExpression += " AND (attribute_not_exists(#decision) OR #decision = :approved)"
	u.ExpressionAttributeNames["#decision"], u.ExpressionAttributeValues[":approved"] = "decision", str(string(Approved))
	return u
}

// DecidedBy returns the author and the text of the approval decision's note; by is "" if
// anonymous.
func (r Record) DecidedBy() (by, why string) {
	n := r.note(NoteApprove, NoteReject, NoteExpire)
	return strings.TrimPrefix(n.Actor, Anonymous), n.Text
}

// Decided describes the approval decision: what, when and by whom. It returns "" if there
// is none.
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
