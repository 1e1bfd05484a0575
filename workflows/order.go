// Package workflows is the order saga: which steps an order goes through, in
// which order they are undone, and how patient each one is. It is
// deterministic: no I/O, no clock, no randomness, for the engine replays it
// from the start at every event.
package workflows

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/dapr/durabletask-go/task"

	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/text"
	"github.com/ordersaga/ordersaga/workflows/saga"
)

// Activities, by the names they are registered under. Like OrderSaga they are
// part of the history of sagas in flight and must never change.
const (
	ReserveStock    = "ReserveStock"
	ReleaseStock    = "ReleaseStock"
	ChargePayment   = "ChargePayment"
	RefundPayment   = "RefundPayment"
	RequestShipment = "RequestShipment"
	ConfirmShipment = "ConfirmShipment"
	SettleApproval  = "SettleApproval" // from v3 on
	VerifyRefusal   = "VerifyRefusal"  // likewise
	ParkSaga        = "ParkSaga"
	CompleteByHand  = "CompleteByHand" // only after an operator has skipped or resolved the last step
)

// Steps. Where one waits, for a person or for the carrier, it is the saga's
// custom status. That charge is stuck means its refund is: charging does not park.
const (
	StepApprove = "approve"
	StepCharge  = "charge"
	StepShip    = "ship"
	StepCarrier = "carrier"
	StepConfirm = "confirm"
)

// Shipping reports whether a step is one of those past the point of no return.
// A saga that is parked at another one is being undone.
func Shipping(step string) bool {
	return step == StepShip || step == StepCarrier || step == StepConfirm
}

// AwaitsExternal reports, by its custom status, whether a saga that waits can only be
// brought on from outside: by a person, the carrier, or the end of their time.
func AwaitsExternal(customStatus string) bool {
	return customStatus == StepApprove || customStatus == StepCarrier || saga.IsParked(customStatus)
}

// State is the saga's input and what its steps add to it. It is the history's
// largest part, and nothing in that can be taken back: the payment token, who
// placed the order and where it goes are read from the orders table by the steps
// that need them.
type State struct {
	Order      order.Order `json:"order,omitzero"` // see order.Order.ForHistory; older releases have begun sagas with the customer and the address in it
	Terms      Terms       `json:"terms,omitzero"`
	ChargeID   string      `json:"chargeId,omitempty"`
	ShipmentID string      `json:"shipmentId,omitempty"` // set at the start of a saga that is begun again after its shipment was requested
	Approved   bool        `json:"approved,omitempty"`   // likewise, after it was approved
	Decided    bool        `json:"decided,omitempty"`    // the order's record has a decision about its approval: nobody needs to wait for one
	Asks       bool        `json:"asks,omitempty"`       // the order waits for an approval, whatever these terms say
	Approval   *Approval   `json:"approval,omitempty"`   // what came in answer, if anything did; SettleApproval says what holds
	TrackingID string      `json:"trackingId,omitempty"`
	// Trace is the W3C trace context that the saga was started in. Engines drop
	// that of a trace that is not sampled, and would begin others in its place.
	Trace string `json:"trace,omitempty"`
	// Accepted is when the order was, in Unix milliseconds.
	Accepted int64 `json:"accepted,omitempty"`
	// Attempt tells an activity which try of it this is, from the second on.
	Attempt int `json:"attempt,omitempty"`
	// OrderID is there in place of Order in the inputs of compensations, of
	// ParkSaga, and of second tries: the orders table has the order. A worker of a
	// release that does not know it has no id to act on, fails, and is tried again.
	// It is there beside Order in sagas whose Order does not say whose it is: a
	// worker of a release that wants that from here reads the table instead.
	OrderID string `json:"orderId,omitempty"`
}

// brief leaves the order out, but for one that only its saga may have: with a
// token in it, a durable-task client has started it past intake.
func (s *State) brief() {
	if s.Order.Payment.Token == "" {
		s.OrderID, s.Order = s.Order.OrderID, order.Order{}
	}
}

// Terms are the rules an order was accepted under. They travel with the saga,
// so that a change of configuration does not change sagas in flight.
type Terms struct {
	// ApprovalLimits are the totals above which a person must approve, of orders
	// that are still to come; see NewState. The zero value has none.
	ApprovalLimits money.Limits `json:"-"`
	// ApprovalAbove is the one of the order's currency, in minor units; 0 means
	// that it needs no approval.
	ApprovalAbove int64 `json:"approvalAbove,omitempty"`
	// ApprovalTimeout is how long the saga waits for that; 0 means 24 hours: a
	// saga that is begun again may have to wait under terms that foresee none.
	ApprovalTimeout time.Duration `json:"approvalTimeout,omitempty"`
	// AwaitCarrier makes the saga wait for the carrier's answer: one durable
	// step more.
	AwaitCarrier   bool          `json:"awaitCarrier,omitempty"`
	CarrierTimeout time.Duration `json:"carrierTimeout,omitempty"`
	// Patience is how long compensations, and steps after the point of no
	// return, are tried before a person is asked; 0 means 24 hours.
	Patience time.Duration `json:"patience,omitempty"`
	// Pace scales all pauses between tries, but for those that somebody asks for
	// (Retry-After), and the budget of the steps before the point of no return; 0
	// means 1. Demonstrations and tests use a small one.
	Pace float64 `json:"pace,omitempty"`
}

// forward is how long a step before the point of no return is tried: not long,
// for the customer is waiting.
func (t Terms) forward() saga.Policy {
	return saga.Policy{First: t.scale(time.Second), Max: t.scale(30 * time.Second), Factor: 2, Jitter: 0.3, Budget: t.scale(5 * time.Minute), MinAttempts: 3}
}

func (t Terms) scale(d time.Duration) time.Duration {
	pace := t.Pace
	if pace <= 0 {
		pace = 1
	}
	return max(time.Duration(float64(d)*pace), time.Millisecond)
}

// Due is how long an order may stay as it is, with its saga at that step,
// before somebody should look. Steps after the point of no return and
// compensations are tried for longer (Patience), but not unseen.
func (t Terms) Due(status order.Status, step string) time.Duration {
	forward := t.forward()
	due := forward.Budget + forward.Max
	switch {
	case status == order.StatusNeedsAttention:
		return 0
	case status == order.StatusAwaitingApproval:
		return due + t.approvalTimeout()
	case step == StepCarrier:
		return due + t.CarrierTimeout
	}
	return due
}

// NewState is the input of the saga of an order, under the terms that hold for
// its currency: of the order, what a history may have.
func NewState(o order.Order, t Terms) State {
	s := State{Order: o.ForHistory(), OrderID: o.OrderID, Terms: t}
	if above, limited := t.ApprovalLimits.In(o.Currency); limited {
		s.Terms.ApprovalAbove, s.Asks = above, above == 0
	}
	s.Terms.ApprovalLimits = money.Limits{}
	return s
}

// NeedsApproval reports whether a person must decide on this order.
func (s State) NeedsApproval() bool {
	return !s.Approved && (s.Asks || s.Terms.ApprovalAbove > 0 && s.Order.Total() > s.Terms.ApprovalAbove)
}

func (t Terms) approvalTimeout() time.Duration { return cmp.Or(t.ApprovalTimeout, 24*time.Hour) }

// Order is the workflow function. The happy path is four durable steps, or three
// if the order does not wait for the carrier.
func Order(ctx *task.WorkflowContext) (any, error) { return run(ctx, approval, carrier) }

// OrderV2 is the workflow function of VersionV2.
func OrderV2(ctx *task.WorkflowContext) (any, error) {
	trusting := carrier
	trusting.Verify = ""
	return run(ctx, approvalV2, trusting)
}

// OrderV1 is the workflow function of VersionV1.
func OrderV1(ctx *task.WorkflowContext) (any, error) {
	punctual := carrier
	punctual.Verify, punctual.AcceptLate = "", false
	return run(ctx, approvalV2, punctual)
}

func run(ctx *task.WorkflowContext, approval, carrier saga.Wait[State]) (any, error) {
	var s State
	if err := ctx.GetInput(&s); err != nil {
		return nil, err
	}
	return orderSaga(s.Terms, approval, carrier).Run(ctx, s)
}

func orderSaga(t Terms, approval, carrier saga.Wait[State]) saga.Saga[State] {
	patience := t.Patience
	if patience <= 0 {
		patience = 24 * time.Hour
	}
	forward := t.forward()
	patient := saga.Policy{First: t.scale(time.Second), Max: t.scale(10 * time.Minute), Factor: 2, Jitter: 0.3, Budget: patience, MinAttempts: 3}

	ship := saga.Step[State]{Name: StepShip, Do: RequestShipment, Retry: patient, PointOfNoReturn: true, AlreadyStarted: shipped}
	if !t.AwaitCarrier { // it is the last step, which completes the order
		ship.Manual, ship.ManualRetry = CompleteByHand, forward
	}

	return saga.Saga[State]{
		Done:        string(order.StatusCompleted),
		Failed:      string(order.StatusFailed),
		Cancelled:   string(order.StatusCancelled),
		OnStuck:     ParkSaga,
		WithAttempt: func(s *State, attempt int) { s.Attempt = attempt },
		Brief:       (*State).brief,
		Steps: []saga.Step[State]{
			{Name: "reserve", Do: ReserveStock, Undo: ReleaseStock, Retry: forward, UndoRetry: patient},
			{Name: StepApprove, Wait: &approval, When: State.NeedsApproval},
			{Name: StepCharge, Do: ChargePayment, Undo: RefundPayment, Retry: forward, UndoRetry: patient, AlreadyStarted: charged},
			ship,
			{Name: StepCarrier, Wait: &carrier, When: awaitsCarrier},
			{Name: StepConfirm, Do: ConfirmShipment, Manual: CompleteByHand, ManualRetry: forward, Retry: patient, When: awaitsCarrier},
		},
	}
}

func awaitsCarrier(s State) bool { return s.Terms.AwaitCarrier }
func charged(s State) bool       { return s.ChargeID != "" }
func shipped(s State) bool       { return s.ShipmentID != "" }

// approval goes by what the order's record says in the end: whoever approved or
// refused was answered by that.
var approval = saga.Wait[State]{
	Signal: EventApproval,
	Timeout: func(s State) time.Duration {
		if s.Decided {
			return 0
		}
		return s.Terms.approvalTimeout()
	},
	Received: func(s *State, payload json.RawMessage) *saga.Stop {
		var stop *saga.Stop
		if s.Approval, stop = readApproval(payload); stop == nil {
			s.Approval.By, s.Approval.Note = text.Cut(s.Approval.By, text.Max), text.Cut(s.Approval.Note, text.Max)
		}
		return stop
	},
	Settle: SettleApproval,
}

// approvalV2 is approval before v3: a time-out decided by itself.
var approvalV2 = saga.Wait[State]{
	Signal:  EventApproval,
	Timeout: func(s State) time.Duration { return s.Terms.ApprovalTimeout },
	Received: func(_ *State, payload json.RawMessage) *saga.Stop {
		a, stop := readApproval(payload)
		if stop != nil || a.Approved {
			return stop
		}
		return &saga.Stop{Status: string(order.StatusCancelled), Reason: ApprovalRefused(a.By, a.Note)}
	},
	TimedOut: func(s State) *saga.Stop {
		return &saga.Stop{Status: string(order.StatusCancelled), Reason: s.Terms.NobodyApproved()}
	},
}

func readApproval(payload json.RawMessage) (*Approval, *saga.Stop) {
	var a Approval
	if err := json.Unmarshal(payload, &a); err != nil {
		return nil, &saga.Stop{Status: string(order.StatusFailed), Reason: "approval cannot be read: " + err.Error()}
	}
	return &a, nil
}

// ApprovalRefused is why an order was cancelled whose approval was refused.
func ApprovalRefused(by, note string) string { return saga.Reason("approval refused", by, note) }

// NobodyApproved is why an order was cancelled whose approval expired.
func (t Terms) NobodyApproved() string {
	return "nobody approved it within " + t.approvalTimeout().String()
}

var carrier = saga.Wait[State]{
	Signal:  EventCarrier,
	Timeout: func(s State) time.Duration { return s.Terms.CarrierTimeout },
	Received: func(s *State, payload json.RawMessage) *saga.Stop {
		var a CarrierAnswer
		if err := json.Unmarshal(payload, &a); err != nil {
			return &saga.Stop{Status: string(order.StatusFailed), Reason: "carrier's answer cannot be read: " + err.Error()}
		}
		if !a.Dispatched {
			return &saga.Stop{Status: string(order.StatusFailed), Reason: saga.Reason("refused by the carrier", "", a.Reason)}
		}
		if text.IsID(a.TrackingID) { // intake passes no other on; a durable-task client may send anything
			s.TrackingID = a.TrackingID
		}
		return nil
	},
	// The parcel may be on its way: neither shipping again nor refunding is
	// safe, so a person finds out, or the carrier answers after all.
	TimedOut:   func(State) *saga.Stop { return nil },
	AcceptLate: true,
	// The refund of what is on its way is not safe either.
	Verify: VerifyRefusal,
}
