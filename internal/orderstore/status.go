package orderstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/backoff"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/text"
)

const notRefunding = " AND attribute_not_exists(refunding)"

// unlessRefused adds the condition that the carrier has not refused the order.
func unlessRefused(u *types.Update) {
	*u.ConditionExpression += " AND (attribute_not_exists(#carrier) OR #carrier <> :refused)"
	u.ExpressionAttributeNames["#carrier"], u.ExpressionAttributeValues[":refused"] = "carrier", str(string(Refused))
}

// statusUpdate returns the update that records an event which sets the status, as
// order.Transitions has it: on condition that the order is in one of the statuses in which
// the event can happen.
func (s *Store) statusUpdate(orderID string, e order.Event, at string, set map[string]types.AttributeValue) *types.Update {
	return s.setStatus(orderID, order.To(e), at, set, order.From(e))
}

// setStatus returns the update that sets the status and the attributes in set, on condition
// that the order is in one of from. A terminal status removes the payment token from the
// record. A saga that changes an order's status is awake, unless set has IdleUntil.
func (s *Store) setStatus(orderID string, to order.Status, at string, set map[string]types.AttributeValue, from []order.Status) *types.Update {
	values := map[string]types.AttributeValue{
		":status": str(string(to)), ":shard": str(statusShard(to, orderID)), ":time": str(timeShard(orderID)), ":at": str(at),
	}
	names := map[string]string{"#status": "status"}
	var expr strings.Builder
	expr.WriteString("SET #status = :status, statusShard = :shard, timeShard = :time, updatedAt = :at")
	for _, k := range sortedKeys(set) {
		names["#"+k], values[":"+k] = k, set[k]
		expr.WriteString(", #" + k + " = :" + k)
	}
	gone := []string{"resolution"} // of what has just changed
	if _, said := set[IdleUntil]; !said {
		gone = append(gone, IdleUntil)
	}
	if to.Terminal() {
		gone = append(gone, "token")
		if _, said := set["reason"]; to == order.StatusCompleted && !said { // why it was parked, say, is in the notes
			gone = append(gone, "reason")
		}
	}
	for i, k := range gone {
		names["#"+k] = k
		expr.WriteString(map[bool]string{true: " REMOVE #", false: ", #"}[i == 0] + k)
	}
	return &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String(expr.String()),
		ConditionExpression:      aws.String(statusIn(from, values)),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
	}
}

// allows returns the condition that e can happen in the order's #status. It adds the
// statuses to values.
func allows(e order.Event, values map[string]types.AttributeValue) string {
	return statusIn(order.From(e), values)
}

// statusIn returns the condition that the order's #status is one of statuses. It adds them
// to values.
func statusIn(statuses []order.Status, values map[string]types.AttributeValue) string {
	in := make([]string, len(statuses))
	for i, st := range statuses {
		in[i] = ":from" + strconv.Itoa(i)
		values[in[i]] = str(string(st))
	}
	return "#status IN (" + strings.Join(in, ", ") + ")"
}

// onlyPaid adds the condition that the order has a charge, or costs nothing:
// whoever is wrong about that, it neither counts as paid nor ships.
func onlyPaid(u *types.Update) *types.Update {
	*u.ConditionExpression += " AND (attribute_exists(#chargeId) OR #total = :free)"
	u.ExpressionAttributeNames["#chargeId"], u.ExpressionAttributeNames["#total"] = "chargeId", "total"
	u.ExpressionAttributeValues[":free"] = num(0)
	return u
}

// unlessRejected adds the condition that the order's approval was neither refused
// nor has expired: whoever answered so is held to it, whatever its saga does. One
// without a decision needed none, or its saga is of a version that wrote none down.
func unlessRejected(u *types.Update) *types.Update {
	*u.ConditionExpression += " AND (attribute_not_exists(#decision) OR #decision = :approved)"
	u.ExpressionAttributeNames["#decision"], u.ExpressionAttributeValues[":approved"] = "decision", str(string(Approved))
	return u
}

// whyNot says so if an order is past a step for want of a charge or an approval.
func (s *Store) whyNot(ctx context.Context, orderID string, err error) error {
	if !errors.Is(err, ErrFinished) {
		return err
	}
	rec, getErr := s.Get(ctx, orderID)
	switch {
	case getErr != nil || rec.Status.Terminal():
	case rec.Decision == Rejected || rec.Decision == Expired:
		return fmt.Errorf("its approval is %s: %w", rec.Decision, err)
	case rec.Total > 0 && rec.ChargeID == "":
		return fmt.Errorf("it costs %s and has no charge: %w", money.Format(rec.Total, rec.Currency), err)
	}
	return err
}

// MarkPaid records the charge; an order that costs nothing needs none. ErrFinished
// if the order is not held any more, or its approval was refused or has expired, or
// it costs something and chargeID is empty.
func (s *Store) MarkPaid(ctx context.Context, orderID, chargeID string) error {
	u := unlessRejected(s.statusUpdate(orderID, order.Paid, s.stamp(), nonEmpty("chargeId", chargeID)))
	if chargeID == "" {
		u = onlyPaid(u)
	}
	return wrap(s.whyNot(ctx, orderID, s.update(ctx, u)), "mark order %s paid", orderID)
}

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

// MarkRefunding records that the order's money goes back, and returns the order
// as it is then. It and what ships and completes an order exclude each other: an
// old saga may still have a step under way when another one, or the reconciler,
// undoes its order. ErrFinished if the order is COMPLETED.
func (s *Store) MarkRefunding(ctx context.Context, orderID string) (Record, error) {
	values := map[string]types.AttributeValue{":true": &types.AttributeValueMemberBOOL{Value: true}}
	rec, err := s.updated(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET refunding = :true"),
		ConditionExpression:      aws.String(allows(order.RefundStarted, values)),
		ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: values,
	})
	if errors.Is(err, ErrFinished) {
		if _, e := s.Get(ctx, orderID); e != nil {
			err = e
		}
	}
	return rec, wrap(err, "mark order %s to be refunded", orderID)
}

// MarkRefunded records the refund's id, whatever the status.
func (s *Store) MarkRefunded(ctx context.Context, orderID, refundID string) error {
	return s.set(ctx, orderID, "refundId", str(refundID))
}

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

// MarkTerminated records that the saga of an order was terminated, and why: the
// engine's record of that can be purged. The reconciler then undoes the order or
// parks it, unless ResumeFromAttention or ClearTerminated takes the mark back. ErrFinished if there
// is no such order or it has ended.
func (s *Store) MarkTerminated(ctx context.Context, orderID, reason string) error {
	values := map[string]types.AttributeValue{":why": str(reason), ":at": str(s.stamp())}
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:         aws.String("SET sagaTerminated = :why, updatedAt = :at"),
		ConditionExpression:      aws.String(allows(order.MarkTerminated, values)),
		ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: values,
	})
	return wrap(err, "note that the saga of order %s was terminated", orderID)
}

// ClearTerminated takes back MarkTerminated: the order has another saga, or is about to.
func (s *Store) ClearTerminated(ctx context.Context, orderID string) error {
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression: aws.String("REMOVE sagaTerminated"), ConditionExpression: aws.String("attribute_exists(sagaTerminated)"),
	})
	if errors.Is(err, ErrFinished) {
		return nil // nobody had
	}
	return wrap(err, "note that order %s has another saga", orderID)
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

// RequestCancel records that the order is to be cancelled, by whom and why:
// from here on it does not ship. ErrFinished if its shipment was requested, or
// it has ended, or needs attention, or is not approved: it is being cancelled
// then.
func (s *Store) RequestCancel(ctx context.Context, orderID string, n Note) error {
	err := s.decide(ctx, orderID, order.CancelRequested, "cancelRequested", &types.AttributeValueMemberBOOL{Value: true}, n,
		"(attribute_not_exists(decision) OR decision = :approved)", map[string]types.AttributeValue{":approved": str(string(Approved))})
	return wrap(err, "cancel order %s", orderID)
}

// Decide records the decision about the order's approval: the first one holds.
// ErrFinished if the order does not wait for one, or has one, or is to be
// cancelled.
func (s *Store) Decide(ctx context.Context, orderID string, d Decision, n Note) error {
	err := s.decide(ctx, orderID, d.event(), "decision", str(string(d)), n, "attribute_not_exists(cancelRequested)", nil)
	return wrap(err, "decide about order %s", orderID)
}

// event is that of order.Transitions that records the decision.
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

// decide records an event that sets an attribute once, with a note, while no shipment was
// requested. and is a further condition, and more has its values.
func (s *Store) decide(ctx context.Context, orderID string, e order.Event, name string, v types.AttributeValue, n Note,
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
		UpdateExpression: aws.String("SET #name = :v, updatedAt = :at, notes = list_append(if_not_exists(notes, :none), :note) REMOVE asleepUntil"),
		ConditionExpression: aws.String(allows(e, values) +
			" AND attribute_not_exists(shipmentId) AND attribute_not_exists(#name) AND " + and),
		ExpressionAttributeNames: map[string]string{"#name": name, "#status": "status"}, ExpressionAttributeValues: values,
	})
}

// End sets the final status of an open order as an edit by hand would: it does not go by
// order.Transitions, and releases nothing. It is for tests of what such edits lead to. It
// does nothing if the order has ended.
func (s *Store) End(ctx context.Context, orderID string, final order.Status, reason string) error {
	err := s.update(ctx, s.setStatus(orderID, final, s.stamp(), nonEmpty("reason", reason), order.OpenStatuses()))
	if errors.Is(err, ErrFinished) {
		return nil
	}
	return wrap(err, "end order %s", orderID)
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

// set writes one attribute of an existing order.
func (s *Store) set(ctx context.Context, orderID, name string, v types.AttributeValue) error {
	err := s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression: aws.String("SET #name = :v, updatedAt = :at"), ConditionExpression: aws.String("attribute_exists(orderId)"),
		ExpressionAttributeNames:  map[string]string{"#name": name},
		ExpressionAttributeValues: map[string]types.AttributeValue{":v": v, ":at": str(s.stamp())},
	})
	if errors.Is(err, ErrFinished) {
		err = ErrNotFound
	}
	return wrap(err, "set %s of order %s", name, orderID)
}

// transact runs the items as one transaction. failed is nil when it went
// through, else it says which items' conditions did not hold. Conflicts with
// other transactions on a hot item are retried here, in place, with jitter:
// left to the queue they would feed the depth that the autoscaler reads.
func (s *Store) transact(ctx context.Context, what string, items []types.TransactWriteItem) (failed []bool, err error) {
	const attempts = 10
	for attempt := range attempts {
		_, err = s.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: items})
		if err == nil {
			return nil, nil
		}
		cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
		if !ok {
			return nil, fmt.Errorf("%s: %w", what, err) // the SDK has retried throttling already
		}
		var fault error
		if failed, fault = reasons(items, cancelled.CancellationReasons); slices.Contains(failed, true) {
			return failed, nil
		}
		if fault != nil {
			return nil, fmt.Errorf("%s: %w: %w", what, fault, err)
		}
		if err := backOff(ctx, attempt); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil, fmt.Errorf("%s: %d attempts: %w", what, attempts, err)
}

// reasons reads why a transaction was cancelled: which items' conditions did not
// hold, and the first fault that trying again cannot change. Nil means that all
// others were in the way of something else, or too much at the moment.
func reasons(items []types.TransactWriteItem, why []types.CancellationReason) (failed []bool, fault error) {
	failed = make([]bool, len(items))
	for i, r := range why[:min(len(why), len(items))] {
		switch code := aws.ToString(r.Code); code {
		case "", "None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
		case "ConditionalCheckFailed":
			failed[i] = true
		default:
			if fault == nil {
				fault = fmt.Errorf("item %d of %d (%s) is refused, and will be: %s: %s",
					i+1, len(items), named(items[i]), code, text.Cut(aws.ToString(r.Message), text.Max))
			}
		}
	}
	return failed, fault
}

// named says which item of a transaction it is.
func named(item types.TransactWriteItem) string {
	var table *string
	var key map[string]types.AttributeValue
	switch {
	case item.Update != nil:
		table, key = item.Update.TableName, item.Update.Key
	case item.Put != nil:
		table, key = item.Put.TableName, item.Put.Item
	case item.ConditionCheck != nil:
		table, key = item.ConditionCheck.TableName, item.ConditionCheck.Key
	case item.Delete != nil:
		table, key = item.Delete.TableName, item.Delete.Key
	}
	for _, name := range []string{"orderId", "sku", "eventId"} {
		if id, ok := key[name].(*types.AttributeValueMemberS); ok {
			return aws.ToString(table) + " " + name + " " + text.Cut(id.Value, text.MaxID)
		}
	}
	return aws.ToString(table)
}

// backOff waits before a throttled request is retried: a random delay of up to 5 ms, of twice
// as much after each further attempt, and of at most 500 ms.
func backOff(ctx context.Context, attempt int) error {
	const base, longest = 5 * time.Millisecond, 500 * time.Millisecond
	return backoff.Sleep(ctx, rand.N(min(base<<min(attempt, 7), longest))) //nolint:gosec // jitter needs no secrecy
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// nonEmpty is the attributes that have a value. They are cut to text.Max: a reason
// may be anybody's.
func nonEmpty(pairs ...string) map[string]types.AttributeValue {
	m := map[string]types.AttributeValue{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			m[pair[0]] = str(text.Cut(pair[1], text.Max))
		}
	}
	return m
}

func sortedKeys(m map[string]types.AttributeValue) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func strs(ss []string) types.AttributeValue {
	l := make([]types.AttributeValue, len(ss))
	for i, s := range ss {
		l[i] = str(s)
	}
	return &types.AttributeValueMemberL{Value: l}
}

func encodeDemand(d []order.Demand) (string, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("encode reservation: %w", err)
	}
	return string(b), nil
}

func decodeDemand(s string) (d []order.Demand, err error) {
	if err := json.Unmarshal([]byte(s), &d); err != nil {
		return nil, fmt.Errorf("decode reservation: %w", err)
	}
	return d, nil
}
