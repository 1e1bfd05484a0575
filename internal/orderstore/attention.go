package orderstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/text"
)

// MarkNeedsAttention parks an open order until an operator resolves it. The backlog does
// not count it as work until RecordOperatorReply.
func (s *Store) MarkNeedsAttention(ctx context.Context, orderID, reason string) error {
	err := s.update(ctx, s.statusUpdate(orderID, order.AttentionNeeded, s.stamp(), nonEmpty("reason", reason, IdleUntil, noTimeLimit)))
	return wrap(err, "park order %s", orderID)
}

// Resolve records an operator's decision about an order that needs attention at a step,
// with a note. The first decision counts each time the order is parked. A change of the order's
// status, or parking it again, removes the decision. That the step was decided stays,
// unless action is retry. The error is ErrFinished if the order does not need attention,
// or has a decision.
func (s *Store) Resolve(ctx context.Context, orderID, step, action string, n Note) error {
	values := map[string]types.AttributeValue{":action": str(action)}
	u := &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET resolution = :action"),
		ConditionExpression:      aws.String(allows(order.Resolved, values) + " AND attribute_not_exists(resolution)"),
		ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: values,
	}
	if step != "" && action != "retry" {
		*u.UpdateExpression += " ADD settled :step"
		u.ExpressionAttributeValues[":step"] = &types.AttributeValueMemberSS{Value: []string{step}}
	}
	err := s.update(ctx, u)
	if err == nil {
		err = s.RecordOperatorReply(ctx, orderID, n)
	}
	return wrap(err, "record the resolution of order %s", orderID)
}

// ResolvedBy returns the author and the text of the note of the recorded resolution; by
// is "" if anonymous.
func (r Record) ResolvedBy() (by, why string) {
	for _, n := range r.Notes {
		if n.Action == r.Resolution {
			by, why = strings.TrimPrefix(n.Actor, Anonymous), n.Text
		}
	}
	return by, why
}

// ManuallyResolved reports whether an operator has resolved a parked step, or tried to.
// Money or parcels may then be right although the ledgers alone do not show it.
func (r Record) ManuallyResolved() bool {
	return slices.ContainsFunc(r.Notes, func(n Note) bool {
		return n.Action == "skip" || n.Action == "resolve" || n.Action == "compensate"
	})
}

// RecordOperatorReply is AddNote for an action of an operator that its saga is notified
// of. The order then counts as work again.
func (s *Store) RecordOperatorReply(ctx context.Context, orderID string, n Note) error {
	if err := s.AddNote(ctx, orderID, n); err != nil {
		return err
	}
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression: aws.String("REMOVE asleepUntil"), ConditionExpression: aws.String("attribute_exists(asleepUntil)"),
	})
	if errors.Is(err, ErrFinished) {
		return nil // it counts as work already
	}
	return wrap(err, "record that order %s is not idle", orderID)
}

// ResumeFromAttention returns an order that needed attention to the status it had
// reached. The error is ErrFinished if it does not need attention, or was abandoned.
func (s *Store) ResumeFromAttention(ctx context.Context, orderID string, to order.Status) error {
	resumed, ok := order.ResumedAs(to)
	if !ok {
		return fmt.Errorf("resume order %s: no order continues as %q after it needed attention", orderID, to)
	}
	u := s.statusUpdate(orderID, resumed, s.stamp(), nil)
	*u.UpdateExpression += ", sagaTerminated, restored" // its last clause is REMOVE
	*u.ConditionExpression += " AND attribute_not_exists(givenUp)"
	return wrap(s.update(ctx, u), "resume order %s", orderID)
}

// MarkAbandoned records that an order that needs attention is compensated. It and
// ResumeFromAttention exclude each other: whichever comes first holds. The error is
// ErrFinished if the order does not need attention.
func (s *Store) MarkAbandoned(ctx context.Context, orderID string) error {
	u := s.statusUpdate(orderID, order.Abandoned, s.stamp(),
		map[string]types.AttributeValue{"givenUp": &types.AttributeValueMemberBOOL{Value: true}})
	return wrap(s.update(ctx, u), "abandon order %s", orderID)
}

// MarkStepDone records that an operator has done a step by hand, of an order that needs
// attention and no longer has a saga. The error is ErrFinished if the order does not need
// attention, was abandoned, is refunded, or was refused by the carrier.
func (s *Store) MarkStepDone(ctx context.Context, orderID, step string) error {
	u := s.statusUpdate(orderID, order.StepDoneByHand, s.stamp(), nil)
	*u.UpdateExpression += " ADD settled :step"
	u.ExpressionAttributeValues[":step"] = &types.AttributeValueMemberSS{Value: []string{step}}
	*u.ConditionExpression += notRefunding + " AND attribute_not_exists(givenUp)"
	unlessRefused(u)
	return wrap(s.update(ctx, u), "record step %s of order %s as done", step, orderID)
}

// RefundedThoughDispatched is the flag of an order that is refunded although the carrier
// has dispatched it, for example because an operator abandoned it.
const RefundedThoughDispatched = "the order is refunded although the carrier has dispatched it: the parcel may have to come back"

// maxFlags limits the notes of Flag in an order's record: other systems can send any
// number, and the saga needs room for its own notes.
const maxFlags = 10

// Flag adds a note for an operator to the order. It adds none if rec, the order as just
// read, already has the note or has too many.
func (s *Store) Flag(ctx context.Context, rec Record, actor, what string) error {
	flags, what := 0, text.Cut(what, text.Max) // as the note is
	for _, n := range rec.Notes {
		if n.Action != noteFlagged {
			continue
		}
		flags++
		if flags >= maxFlags || n.Actor == actor && n.Text == what {
			return nil
		}
	}
	return s.AddNote(ctx, rec.OrderID, Note{Actor: actor, Action: noteFlagged, Text: what})
}
