// Package activities is the work of the order saga's steps. Each one may run
// twice, and may be cut off at any point: what it does first is what makes a
// second run harmless.
package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/workflows"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Stock is what the activities use of *stock.Store.
type Stock interface {
	Get(ctx context.Context, orderID string) (orderstore.Record, error)
	Accept(ctx context.Context, o order.Order) (rec orderstore.Record, created bool, err error)
	Reserve(ctx context.Context, o order.Order, next order.Status, asleep ...time.Duration) (orderstore.Reserved, error)
	Sell(ctx context.Context, orderID, shipmentID, trackingID string, holds ...order.Demand) error
	Release(ctx context.Context, orderID string, final order.Status, reason string) error
	MarkPaid(ctx context.Context, orderID, chargeID string) error
	MarkRefunding(ctx context.Context, orderID string) (orderstore.Record, error)
	MarkRefunded(ctx context.Context, orderID, refundID string) error
	ShipmentRequested(ctx context.Context, orderID, shipmentID string) (orderstore.Record, error)
	Decide(ctx context.Context, orderID string, d orderstore.Decision, n orderstore.Note) error
	MarkNeedsAttention(ctx context.Context, orderID, reason string) error
	AddNote(ctx context.Context, orderID string, n orderstore.Note) error
	Flag(ctx context.Context, rec orderstore.Record, actor, text string) error
}

// Payments is what the activities use of *payment.Client.
type Payments interface {
	Charge(ctx context.Context, c payment.Charge) (id string, err error)
	ChargesOf(ctx context.Context, orderID string) ([]payment.Entry, error)
	Refund(ctx context.Context, made payment.Entry) (id string, err error)
}

// Shipments is what the activities use of *shipment.Publisher.
type Shipments interface {
	RequestShipment(ctx context.Context, o order.Order) error
	Notify(ctx context.Context, o order.Order, kind events.NotificationKind, why events.ReasonCode) error
}

// Activities holds what the steps work with.
type Activities struct {
	Stock     Stock
	Payments  Payments
	Shipments Shipments
	Logger    zerolog.Logger
	// KeysLast is how long the payment provider surely remembers an idempotency
	// key; 0 means an hour.
	KeysLast time.Duration
	// Observe is told of every attempt; nil if nobody listens.
	Observe func(Attempt)
	// Ended is told of every order that ends; nil if nobody listens.
	Ended func(End)
}

// Register adds the workflow and all activities to a registry.
func (a Activities) Register(r *task.TaskRegistry) error {
	return errors.Join(
		r.AddVersionedWorkflowN(workflows.OrderSaga, workflows.Version, true, workflows.Order),
		r.AddVersionedWorkflowN(workflows.OrderSaga, workflows.VersionV2, false, workflows.OrderV2),
		r.AddVersionedWorkflowN(workflows.OrderSaga, workflows.VersionV1, false, workflows.OrderV1),
		r.AddActivityN(workflows.ReserveStock, a.do(workflows.ReserveStock, a.ReserveStock)),
		r.AddActivityN(workflows.ReleaseStock, a.undo(workflows.ReleaseStock, a.ReleaseStock)),
		r.AddActivityN(workflows.ChargePayment, a.do(workflows.ChargePayment, a.ChargePayment)),
		r.AddActivityN(workflows.RefundPayment, a.undo(workflows.RefundPayment, a.RefundPayment)),
		r.AddActivityN(workflows.RequestShipment, a.do(workflows.RequestShipment, a.RequestShipment)),
		r.AddActivityN(workflows.ConfirmShipment, a.do(workflows.ConfirmShipment, a.ConfirmShipment)),
		r.AddActivityN(workflows.CompleteByHand, a.do(workflows.CompleteByHand, a.CompleteByHand)),
		r.AddActivityN(workflows.SettleApproval, a.do(workflows.SettleApproval, a.SettleApproval)),
		r.AddActivityN(workflows.VerifyRefusal, a.do(workflows.VerifyRefusal, a.VerifyRefusal)),
		r.AddActivityN(workflows.ParkSaga, a.parked(workflows.ParkSaga, a.ParkSaga)),
	)
}

// ReserveStock holds stock for all lines or rejects the order.
func (a Activities) ReserveStock(ctx context.Context, s workflows.State) (workflows.State, error) {
	next, asleep := order.StatusReserved, []time.Duration(nil)
	if s.NeedsApproval() {
		next, asleep = order.StatusAwaitingApproval, []time.Duration{s.Terms.ApprovalTimeout}
	}
	res, err := a.Stock.Reserve(ctx, s.Order, next, asleep...)
	if errors.Is(err, orderstore.ErrNotFound) && s.Order.Payment.Token != "" {
		// Intake leaves the token out: a durable-task client has started this
		// saga past it, as Dapr lets it.
		if err := s.Order.Validate(); err != nil {
			return workflows.State{}, &saga.Stop{Status: string(order.StatusFailed), Reason: err.Error()}
		}
		if _, _, err := a.Stock.Accept(ctx, s.Order); err != nil {
			return workflows.State{}, err
		}
		res, err = a.Stock.Reserve(ctx, s.Order, next, asleep...)
	}
	if err != nil {
		return workflows.State{}, err
	}
	if res.Status == order.StatusRejected {
		stop := &saga.Stop{Status: string(res.Status), Reason: fmt.Sprintf("out of stock: %v", res.ShortSKUs)}
		if err := a.notifyUnread(ctx, s.Order, events.NotifyRejected, events.ReasonOutOfStock); err != nil {
			return workflows.State{}, err // tried again; ReleaseStock has the last word
		}
		a.ended(s, End{Status: res.Status})
		return workflows.State{}, stop
	}
	if res.Status.Terminal() {
		// A second saga for an order that has ended: Dapr starts one if a
		// start slips past the guard at the door. It must have no effect.
		return workflows.State{}, &saga.Stop{Status: string(res.Status), Reason: "the order had ended before"}
	}
	if !res.Held {
		return workflows.State{}, fmt.Errorf("reserve stock for order %s: it is %s and holds nothing", s.Order.OrderID, res.Status)
	}
	// A saga that is begun again asks nobody a second time. Whether a person must
	// approve the order was decided when it was reserved: its own terms may differ.
	out := workflows.State{Approved: res.Decision == orderstore.Approved, Decided: res.Decision != ""}
	switch asks := s.NeedsApproval(); {
	case res.Status == order.StatusAwaitingApproval && !asks && !s.Approved:
		out.Asks = true
	case (res.Status == order.StatusReserved || res.Status == order.StatusPaid) && asks:
		out.Approved = true
	}
	return out, nil
}

// SettleApproval writes down what was decided about the order's approval, or
// that its time is over, unless something was decided before, and goes by what
// the order's record says then.
func (a Activities) SettleApproval(ctx context.Context, s workflows.State) (workflows.State, error) {
	d, note := orderstore.Expired, orderstore.Note{Actor: "saga", Action: orderstore.NoteExpire, Text: s.Terms.NobodyApproved()}
	if said := s.Approval; said != nil {
		d, note = orderstore.Rejected, orderstore.Note{Actor: cmp.Or(said.By, orderstore.Anonymous), Action: orderstore.NoteReject, Text: said.Note}
		if said.Approved {
			d, note.Action = orderstore.Approved, orderstore.NoteApprove
		}
	}
	if err := a.Stock.Decide(ctx, s.Order.OrderID, d, note); err != nil && !errors.Is(err, orderstore.ErrFinished) {
		return workflows.State{}, err
	}
	rec, err := a.Stock.Get(ctx, s.Order.OrderID)
	if err != nil && !errors.Is(err, orderstore.ErrNotFound) {
		return workflows.State{}, err
	}
	stop := func(status order.Status, reason string) (workflows.State, error) {
		return workflows.State{}, &saga.Stop{Status: string(status), Reason: reason}
	}
	switch {
	case rec.Status.Terminal():
		return stop(rec.Status, "the order had ended before")
	case rec.CancelRequested:
		by, why := rec.CancelledBy()
		return stop(order.StatusCancelled, saga.Reason("cancelled", by, why))
	case rec.Decision == orderstore.Approved || rec.ChargeID != "":
		return workflows.State{Approved: true}, nil
	case notApproved(rec) != nil:
		return workflows.State{}, notApproved(rec)
	}
	return stop(order.StatusFailed, fmt.Sprintf("the order is %q and cannot be approved", rec.Status))
}

// notApproved is how an order ends whose approval was refused or has expired; nil
// for all others.
func notApproved(rec orderstore.Record) *saga.Stop {
	by, why := rec.DecidedBy()
	switch rec.Decision {
	case orderstore.Rejected:
		return &saga.Stop{Status: string(order.StatusCancelled), Reason: workflows.ApprovalRefused(by, why)}
	case orderstore.Expired:
		return &saga.Stop{Status: string(order.StatusCancelled), Reason: why}
	case orderstore.Approved:
	}
	return nil
}

// ReleaseStock gives back what is held, if anything, and ends the order.
func (a Activities) ReleaseStock(ctx context.Context, s workflows.State, why saga.Stop) error {
	rec, err := a.Stock.Get(ctx, s.Order.OrderID)
	if err != nil && !errors.Is(err, orderstore.ErrNotFound) {
		return err
	}
	final := order.Status(why.Status)
	if rec.Status.Terminal() {
		final = rec.Status
	}
	if final == order.StatusCompleted {
		return a.Stock.Release(ctx, s.Order.OrderID, final, why.Reason) // says why not
	}
	if err := a.tell(ctx, s, rec, final); err != nil {
		return err
	}
	if err := a.Stock.Release(ctx, s.Order.OrderID, final, why.Reason); err != nil {
		return err
	}
	if !rec.Status.Terminal() {
		a.ended(s, End{Status: final, Refunded: rec.RefundID != ""})
	}
	return nil
}

// tell notifies the customer, before the order takes the status of which it
// tells: a saga that is held up here must not look finished. When the order
// has ended already (this is a step's second run) it is not held up; a note
// says that the customer may not know.
func (a Activities) tell(ctx context.Context, s workflows.State, rec orderstore.Record, final order.Status) error {
	kind := kindOf(final)
	err := a.notify(ctx, s.Order, rec, kind, codeOf(final, rec))
	if err == nil {
		return nil
	}
	if rec, getErr := a.Stock.Get(ctx, s.Order.OrderID); getErr != nil || !rec.Status.Terminal() {
		return err
	}
	return a.untold(ctx, s, kind, err)
}

// untold notes that the customer was not told.
func (a Activities) untold(ctx context.Context, s workflows.State, kind events.NotificationKind, why error) error {
	return a.Stock.AddNote(ctx, s.Order.OrderID, orderstore.Note{Actor: "saga", Action: "customer not told", Text: string(kind) + ": " + why.Error()})
}

// ChargePayment charges the order's total once, if there is one. Within an hour
// the idempotency key sees to that; later the order's record does, or, if the
// charge's answer was lost, the provider's ledger.
func (a Activities) ChargePayment(ctx context.Context, s workflows.State) (workflows.State, error) {
	rec, err := a.Stock.Get(ctx, s.Order.OrderID) // it has the token, which history must not
	if err != nil {
		return workflows.State{}, err
	}
	// A worker of a release that knew lines only may have passed the order on
	// without the rest of what it costs.
	if o, err := rec.Order(); err == nil {
		s.Order.Shipping, s.Order.Tax, s.Order.Discount = o.Shipping, o.Tax, o.Discount
	}
	id := rec.ChargeID
	if id == "" && s.Order.Total() > 0 {
		if id, err = a.charge(ctx, s.Order, rec); err != nil {
			err = a.final(ctx, s.Order, rec, err)
		}
	}
	if declined, ok := errors.AsType[*payment.Declined](err); ok {
		return workflows.State{}, &saga.Stop{Status: string(order.StatusDeclined), Reason: declined.Code + ": " + declined.Message}
	}
	if errors.Is(err, payment.ErrVoided) {
		return workflows.State{}, &saga.Stop{Status: string(order.StatusFailed), Reason: err.Error()}
	}
	if err != nil {
		return workflows.State{}, err
	}
	return workflows.State{ChargeID: id}, a.Stock.MarkPaid(ctx, s.Order.OrderID, id)
}

// charge charges an order whose record has no charge. A *saga.Stop says that
// nobody has approved it.
func (a Activities) charge(ctx context.Context, o order.Order, rec orderstore.Record) (id string, err error) {
	if stop := notApproved(rec); stop != nil {
		return "", stop
	}
	// None was made before the order was accepted.
	if rec.Refunding || time.Since(rec.CreatedAt) > cmp.Or(a.KeysLast, time.Hour) {
		before, err := a.Payments.ChargesOf(ctx, o.OrderID)
		if err != nil {
			return "", err
		}
		for _, c := range before {
			switch {
			case c.Refunded:
			case c.Amount != o.Total() || c.Currency != o.Currency:
				return "", fmt.Errorf("charge order %s: charge %s stands in the provider's ledger, over %s and not %s", o.OrderID, c.ID, money.Format(c.Amount, c.Currency), money.Format(o.Total(), o.Currency))
			default:
				return c.ID, nil
			}
		}
		if rec.Refunding || len(before) > 0 {
			return "", fmt.Errorf("charge order %s: %w", o.OrderID, payment.ErrVoided)
		}
	}
	return a.Payments.Charge(ctx, payment.Charge{OrderID: o.OrderID, Amount: o.Total(), Currency: o.Currency, Token: rec.Token})
}

// final is a charge's error. A no that is final ends the order without a refund,
// so the ledger must not say otherwise: a try whose answer was lost may have
// charged. If it does, the outcome is unknown.
func (a Activities) final(ctx context.Context, o order.Order, rec orderstore.Record, no error) error {
	_, declined := errors.AsType[*payment.Declined](no)
	stop, stopped := errors.AsType[*saga.Stop](no)
	if !declined && !stopped && !errors.Is(no, payment.ErrVoided) {
		return no
	}
	charges, err := a.Payments.ChargesOf(ctx, o.OrderID)
	if err != nil {
		return err
	}
	for _, c := range charges {
		if !c.Refunded {
			return fmt.Errorf("charge %s stands in the provider's ledger, although the answer is: %s", c.ID, no) //nolint:errorlint // it is not final
		}
	}
	// No refund follows. One that was made before may not be in the order's record:
	// who made it may have died in between.
	ends := order.StatusFailed
	switch {
	case declined:
		ends = order.StatusDeclined
	case stopped:
		ends = order.Status(stop.Status)
	}
	for _, c := range charges {
		if c.RefundID != "" {
			if err := a.refunded(ctx, o, rec, c.RefundID, ends); err != nil {
				return err
			}
		}
	}
	return no
}

// RefundPayment gives the money back, or makes sure that none is taken. An
// order that is COMPLETED keeps it: this is a second saga for it, then. So does
// one whose refund an operator has settled.
func (a Activities) RefundPayment(ctx context.Context, s workflows.State, why saga.Stop) error {
	rec, err := a.Stock.MarkRefunding(ctx, s.Order.OrderID)
	if errors.Is(err, orderstore.ErrFinished) {
		return nil
	}
	if err != nil && !errors.Is(err, orderstore.ErrNotFound) {
		return err
	}
	if rec.Carrier == orderstore.Dispatched { // kept before the mark; what comes after it is flagged where it comes in
		zerolog.Ctx(ctx).Error().Msg(orderstore.RefundedThoughDispatched)
		if err := a.Stock.Flag(ctx, rec, "saga", orderstore.RefundedThoughDispatched); err != nil {
			return err
		}
	}
	if slices.Contains(rec.Settled, workflows.StepCharge) { // a bank transfer, say
		return nil
	}
	if s.Order.Total() == 0 && len(s.Order.Lines) > 0 { // without a record nobody knows what it cost
		return nil
	}
	id, err := a.Payments.Refund(ctx, payment.Entry{OrderID: s.Order.OrderID, ID: rec.ChargeID, Amount: rec.Total, Currency: rec.Currency})
	if err != nil || id == "" {
		return err
	}
	return a.refunded(ctx, s.Order, rec, id, order.Status(why.Status))
}

// refunded keeps a refund with its order and tells the customer why: the order
// ends so.
func (a Activities) refunded(ctx context.Context, o order.Order, rec orderstore.Record, refundID string, ends order.Status) error {
	if err := a.Stock.MarkRefunded(ctx, o.OrderID, refundID); err != nil {
		return err
	}
	if rec.Status.Terminal() {
		ends = rec.Status
	}
	return a.notify(ctx, o, rec, events.NotifyRefunded, codeOf(ends, rec))
}

// RequestShipment asks the carrier to ship. The order's record changes first:
// its condition is what keeps an order that is not paid and held from being
// shipped. It completes when the carrier was asked, and not before: what is
// held up on the way must not look finished.
func (a Activities) RequestShipment(ctx context.Context, s workflows.State) (workflows.State, error) {
	rec, err := a.Stock.ShipmentRequested(ctx, s.Order.OrderID, shipment.ID(s.Order.OrderID))
	if errors.Is(err, orderstore.ErrFinished) {
		return workflows.State{}, a.unshippable(ctx, s, err)
	}
	if err != nil {
		return workflows.State{}, err
	}
	if err := a.Shipments.RequestShipment(ctx, whose(s.Order, rec)); err != nil || s.Terms.AwaitCarrier {
		return workflows.State{}, err
	}
	return workflows.State{}, a.complete(ctx, s, rec)
}

// unshippable says why an order cannot ship, or nil if it has shipped.
func (a Activities) unshippable(ctx context.Context, s workflows.State, cause error) error {
	rec, err := a.Stock.Get(ctx, s.Order.OrderID)
	switch {
	case err != nil:
		return err
	case rec.Status == order.StatusCompleted && rec.ShipmentID == shipment.ID(s.Order.OrderID):
		return nil // this is the step's second run
	case rec.CancelRequested && !rec.Status.Terminal():
		by, why := rec.CancelledBy()
		return &saga.Stop{Status: string(order.StatusCancelled), Reason: saga.Reason("cancelled", by, why)}
	case rec.Carrier == orderstore.Refused && !rec.Status.Terminal(): // and its saga was begun again
		return refused(rec)
	case notApproved(rec) != nil && !rec.Status.Terminal():
		return notApproved(rec)
	}
	return stopIfFinished(cause)
}

// ConfirmShipment completes an order that the carrier has taken.
func (a Activities) ConfirmShipment(ctx context.Context, s workflows.State) (workflows.State, error) {
	rec, err := a.Stock.Get(ctx, s.Order.OrderID)
	switch {
	case err != nil:
		return workflows.State{}, err
	case rec.Status == order.StatusCompleted:
		return workflows.State{}, nil // this is the step's second run
	case rec.Carrier == orderstore.Refused && !rec.Status.Terminal(): // and the saga was told to go on
		return workflows.State{}, refused(rec)
	case rec.ShipmentID == "" && !slices.ContainsFunc(rec.Settled, workflows.Shipping) || rec.Status.Terminal():
		return workflows.State{}, &saga.Stop{Status: string(order.StatusFailed), Reason: "order is " + string(rec.Status) + " and was not sent"}
	}
	return workflows.State{}, a.complete(ctx, s, rec)
}

// CompleteByHand completes an order of which an operator has done the last step
// by hand, or left it out. That the customer cannot be told does not keep it
// from that: it may be why the step was stuck. If the order cannot complete
// though nothing undoes it, the step is stuck again.
func (a Activities) CompleteByHand(ctx context.Context, s workflows.State) (workflows.State, error) {
	rec, err := a.Stock.Get(ctx, s.Order.OrderID)
	switch {
	case err != nil:
		return workflows.State{}, err
	case rec.Status == order.StatusCompleted: // this is the step's second run
	case rec.Carrier == orderstore.Refused && !rec.Status.Terminal():
		return workflows.State{}, refused(rec)
	case rec.Status.Terminal() || rec.Refunding:
		return workflows.State{}, &saga.Stop{Status: string(order.StatusFailed), Reason: "order is " + string(rec.Status) + " and is undone by another saga"}
	default:
		if err := a.Stock.Sell(ctx, s.Order.OrderID, shipment.ID(s.Order.OrderID), s.TrackingID); err != nil {
			return workflows.State{}, err
		}
		a.ended(s, End{Status: order.StatusCompleted})
	}
	if err := a.notify(ctx, s.Order, rec, events.NotifyConfirmed, ""); err != nil {
		return workflows.State{}, a.untold(ctx, s, events.NotifyConfirmed, err)
	}
	return workflows.State{}, nil
}

// complete tells the customer first: an order that looks finished is.
func (a Activities) complete(ctx context.Context, s workflows.State, rec orderstore.Record) error {
	if err := a.notify(ctx, s.Order, rec, events.NotifyConfirmed, ""); err != nil {
		return err
	}
	err := a.Stock.Sell(ctx, s.Order.OrderID, shipment.ID(s.Order.OrderID), s.TrackingID, s.Order.Demand()...)
	if errors.Is(err, orderstore.ErrFinished) {
		rec, getErr := a.Stock.Get(ctx, s.Order.OrderID)
		if getErr != nil {
			return getErr
		}
		if rec.Carrier == orderstore.Refused { // meanwhile
			return refused(rec)
		}
	}
	if err == nil {
		a.ended(s, End{Status: order.StatusCompleted})
	}
	return stopIfFinished(err)
}

// VerifyRefusal ends the saga if the carrier has refused the shipment by the
// order's record: intake has kept that answer, and a durable-task client may
// have sent another one, also before a shipment was requested.
func (a Activities) VerifyRefusal(ctx context.Context, s workflows.State) (workflows.State, error) {
	rec, err := a.Stock.Get(ctx, s.Order.OrderID)
	if err != nil {
		return workflows.State{}, err
	}
	if rec.Carrier == orderstore.Refused {
		return workflows.State{}, refused(rec)
	}
	zerolog.Ctx(ctx).Warn().Msg("a refusal that the carrier has not sent is dropped")
	return workflows.State{}, nil
}

func refused(rec orderstore.Record) error {
	return &saga.Stop{Status: string(order.StatusFailed), Reason: saga.Reason("refused by the carrier", "", rec.RefusedFor())}
}

// stopIfFinished makes "the order is not paid and held" final: trying again
// cannot change it.
func stopIfFinished(err error) error {
	if errors.Is(err, orderstore.ErrFinished) {
		return &saga.Stop{Status: string(order.StatusFailed), Reason: err.Error()}
	}
	return err
}

// ParkSaga makes a saga that needs a person visible. That the customer cannot
// be told does not keep the person from it.
func (a Activities) ParkSaga(ctx context.Context, s workflows.State, step, cause string) error {
	zerolog.Ctx(ctx).Error().Str("step", step).Str("cause", cause).Msg("a saga needs attention")
	if err := a.Stock.MarkNeedsAttention(ctx, s.Order.OrderID, step+": "+cause); err != nil && !errors.Is(err, orderstore.ErrFinished) {
		return err
	}
	if err := a.notifyUnread(ctx, s.Order, events.NotifyDelayed, ""); err != nil {
		return a.untold(ctx, s, events.NotifyDelayed, err)
	}
	return nil
}
