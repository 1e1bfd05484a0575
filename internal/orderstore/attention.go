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

// MarkNeedsAttention parks a live order for an operator: its saga sleeps until
// there is an Answer.
func (s *Store) MarkNeedsAttention(ctx context.Context, orderID, reason string) error {
	err := s.update(ctx, s.statusUpdate(orderID, order.AttentionNeeded, s.stamp(), nonEmpty("reason", reason, IdleUntil, noTimeLimit)))
	return wrap(err, "park order %s", orderID)
}

// Resolve records what an operator decides about an order that needs attention
// at a step, with a note: the first decision about each standstill holds.
// Whatever changes the order's status, or parks it again, takes it out; that the
// step was decided about stays, unless it is only tried again. ErrFinished if the
// order does not need attention, or there is a decision.
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
	return wrap(err, "decide how order %s goes on", orderID)
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

// ManuallyResolved reports whether an operator has decided, or tried to, about a parked
// step: money or parcels may then be right though the ledgers alone do not say
// so.
func (r Record) ManuallyResolved() bool {
	return slices.ContainsFunc(r.Notes, func(n Note) bool {
		return n.Action == "skip" || n.Action == "resolve" || n.Action == "compensate"
	})
}

// Answer is AddNote for what a person does that the saga will hear of: if it
// slept, somebody must run it now.
func (s *Store) RecordOperatorReply(ctx context.Context, orderID string, n Note) error {
	if err := s.AddNote(ctx, orderID, n); err != nil {
		return err
	}
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression: aws.String("REMOVE asleepUntil"), ConditionExpression: aws.String("attribute_exists(asleepUntil)"),
	})
	if errors.Is(err, ErrFinished) {
		return nil // it is awake
	}
	return wrap(err, "wake order %s", orderID)
}

// ResumeFromAttention lets an order that needed attention go on, as far as it was.
// ErrFinished if it does not need any, or was given up.
func (s *Store) ResumeFromAttention(ctx context.Context, orderID string, to order.Status) error {
	resumed, ok := order.ResumedAs(to)
	if !ok {
		return fmt.Errorf("unpark order %s: no order goes on as %q after it needed attention", orderID, to)
	}
	u := s.statusUpdate(orderID, resumed, s.stamp(), nil)
	*u.UpdateExpression += ", sagaTerminated" // its last clause is REMOVE
	*u.ConditionExpression += " AND attribute_not_exists(givenUp)"
	return wrap(s.update(ctx, u), "unpark order %s", orderID)
}

// MarkAbandoned records that an order that needs attention is undone, and excludes
// ResumeFromAttention: whichever comes first holds. ErrFinished if it does not need any.
func (s *Store) MarkAbandoned(ctx context.Context, orderID string) error {
	u := s.statusUpdate(orderID, order.Abandoned, s.stamp(),
		map[string]types.AttributeValue{"givenUp": &types.AttributeValueMemberBOOL{Value: true}})
	return wrap(s.update(ctx, u), "give up order %s", orderID)
}

// MarkStepDone records that an operator has done a step of an order by hand that needs
// attention and has no saga any more. ErrFinished if it does not need any, was
// given up or refused by the carrier, or is refunded.
func (s *Store) MarkStepDone(ctx context.Context, orderID, step string) error {
	u := s.statusUpdate(orderID, order.StepDoneByHand, s.stamp(), nil)
	*u.UpdateExpression += " ADD settled :step"
	u.ExpressionAttributeValues[":step"] = &types.AttributeValueMemberSS{Value: []string{step}}
	*u.ConditionExpression += notRefunding + " AND attribute_not_exists(givenUp)"
	unlessRefused(u)
	return wrap(s.update(ctx, u), "settle step %s of order %s", step, orderID)
}

// RefundedThoughDispatched is what an order is flagged with whose money goes back
// after the carrier took it: an operator gave it up, say.
const RefundedThoughDispatched = "the order is refunded although the carrier has dispatched it: the parcel may have to come back"

// maxFlags is how many notes of Flag an order's record keeps: there is no end to
// what others may say, and the saga needs room to write, too.
const maxFlags = 10

// Flag adds a note for a person to the order, unless rec, the order as it was
// just read, has it, or has too many.
func (s *Store) Flag(ctx context.Context, rec Record, actor, what string) error {
	flags, what := 0, text.Cut(what, text.Max) // as the note is
	for _, n := range rec.Notes {
		if n.Action != noteFlagged {
			continue
		}
		if flags++; flags >= maxFlags || n.Actor == actor && n.Text == what {
			return nil
		}
	}
	return s.AddNote(ctx, rec.OrderID, Note{Actor: actor, Action: noteFlagged, Text: what})
}
