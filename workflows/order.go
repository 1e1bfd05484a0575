// Package workflows defines the order saga: the steps of an order, the order in
// which they are compensated, and the retry policy of each. It is deterministic:
// no I/O, no clock, no randomness, for the engine replays it from the start at
// every event.
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

// Names that the activities are registered under. Like OrderSaga they are part of
// the history of sagas in flight and must never change.
const (
	ReserveStock    = "ReserveStock"
	ReleaseStock    = "ReleaseStock"
	ChargePayment   = "ChargePayment"
	RefundPayment   = "RefundPayment"
	RequestShipment = "RequestShipment"
	ConfirmShipment = "ConfirmShipment"
	SettleApproval  = "SettleApproval" // from v3 on
	VerifyRefusal   = "VerifyRefusal"  // from v3 on
	ParkSaga        = "ParkSaga"
	CompleteByHand  = "CompleteByHand" // only after an operator has skipped or resolved the last step
)

// Names of the steps. While a step waits for an approval or the carrier, its name is
// the saga's custom status. If StepCharge needs attention, its refund is stuck:
// a charge that fails is compensated.
const (
	StepApprove = "approve"
	StepCharge  = "charge"
	StepShip    = "ship"
	StepCarrier = "carrier"
	StepConfirm = "confirm"
)

// PastPointOfNoReturn reports whether a step comes after the point of no return or
// is it. A saga that needs attention at any other step is being compensated.
func PastPointOfNoReturn(step string) bool {
	return step == StepShip || step == StepCarrier || step == StepConfirm
}

// AwaitsExternal reports, by its custom status, whether a waiting saga continues only
// when an operator or the carrier answers, or when their time is up.
func AwaitsExternal(customStatus string) bool {
	return customStatus == StepApprove || customStatus == StepCarrier || saga.IsParked(customStatus)
}

// State is the saga's input and what its steps add to it. It is the largest part of
// the history, and nothing in a history can be removed. So the payment token, the
// customer and the address stay out: the steps that need them read them from the
// orders table. NewState makes one.
type State struct {
	// Order is the order without token, customer and address; see
	// order.Order.ForHistory. Older releases have started sagas with the customer and
	// the address in it.
	Order order.Order `json:"order,omitzero"`
	// Terms are the rules that the order was accepted under.
	Terms Terms `json:"terms,omitzero"`
	// ChargeID is the provider's id of the charge; "" before there is one.
	ChargeID string `json:"chargeId,omitempty"`
	// ShipmentID is the id of the requested shipment; "" before the request. It is set
	// at the start of a saga that is restarted after its shipment was requested.
	ShipmentID string `json:"shipmentId,omitempty"`
	// Approved is true if the order needs no further approval. It is set at the start
	// of a saga that is restarted after the approval.
	Approved bool `json:"approved,omitempty"`
	// Decided is true if the order's record has a decision about its approval: the saga
	// does not wait for one.
	Decided bool `json:"decided,omitempty"`
	// Asks is true if the order must wait for an approval, even if Terms require none.
	Asks bool `json:"asks,omitempty"`
	// Approval is the answer that was received; nil if none was. SettleApproval returns
	// the decision that holds.
	Approval *Approval `json:"approval,omitempty"`
	// TrackingID is the carrier's id of the parcel; "" if unknown.
	TrackingID string `json:"trackingId,omitempty"`
	// Trace is the W3C trace context that the saga was started in. Engines drop that of
	// a trace that is not sampled, and would start others in its place.
	Trace string `json:"trace,omitempty"`
	// Accepted is when the order was accepted, in Unix milliseconds; 0 if unknown.
	Accepted int64 `json:"accepted,omitempty"`
	// Attempt is the number of an activity's attempt, from the second on; 0 is the first.
	Attempt int `json:"attempt,omitempty"`
	// OrderID is the order's id. It replaces Order in the inputs of compensations, of
	// ParkSaga, and of second attempts, which read the orders table. A worker of a
	// release without this field has no id to act on, fails, and is retried. It is
	// beside Order in sagas whose Order has no customer: a worker of a release that
	// needs the customer from here reads the table instead.
	OrderID string `json:"orderId,omitempty"`
}

// brief drops the order, unless only the saga may have it: an order with a token was
// started by a durable-task client, past intake.
func (s *State) brief() {
	if s.Order.Payment.Token == "" {
		s.OrderID, s.Order = s.Order.OrderID, order.Order{}
	}
}

// Terms are the rules an order was accepted under. They travel with the saga,
// so that a change of configuration does not change sagas in flight.
type Terms struct {
	// ApprovalLimits are the totals, by currency, above which new orders need an
	// approval; see NewState. The zero value has none.
	ApprovalLimits money.Limits `json:"-"`
	// ApprovalAbove is the limit for the order's currency, in minor units; 0 means that
	// the order needs no approval.
	ApprovalAbove int64 `json:"approvalAbove,omitempty"`
	// ApprovalTimeout is how long the saga waits for an approval; 0 means 24 hours: a
	// saga that is restarted may have to wait under terms without an approval.
	ApprovalTimeout time.Duration `json:"approvalTimeout,omitempty"`
	// AwaitCarrier makes the saga wait for the carrier's answer, which takes one more
	// durable step.
	AwaitCarrier bool `json:"awaitCarrier,omitempty"`
	// CarrierTimeout is how long the saga waits for the carrier before it needs
	// attention. It must be positive with AwaitCarrier.
	CarrierTimeout time.Duration `json:"carrierTimeout,omitempty"`
	// CompensationTimeout is how long compensations, and steps after the point of no
	// return, are retried before the saga needs attention; 0 means 24 hours.
	CompensationTimeout time.Duration `json:"patience,omitempty"`
	// TimeScale multiplies all pauses between attempts, except those that a server
	// requests (Retry-After), and the time limit of the steps before the point of no
	// return; 0 means 1. Demonstrations and tests use a small one.
	TimeScale float64 `json:"pace,omitempty"`
}

const (
	defaultApprovalTimeout     = 24 * time.Hour
	defaultCompensationTimeout = 24 * time.Hour
)

// forwardPolicy retries a step before the point of no return: not for long, because
// the customer is waiting.
func (t Terms) forwardPolicy() saga.Policy {
	return saga.Policy{
		First: t.scale(time.Second), Max: t.scale(30 * time.Second), Factor: 2, Jitter: 0.3,
		Budget: t.scale(5 * time.Minute), MinAttempts: 3,
	}
}

// undoPolicy retries compensations, refunds among them, and the steps after the point
// of no return.
func (t Terms) undoPolicy() saga.Policy {
	budget := t.CompensationTimeout
	if budget <= 0 {
		budget = defaultCompensationTimeout
	}
	return saga.Policy{
		First: t.scale(time.Second), Max: t.scale(10 * time.Minute), Factor: 2, Jitter: 0.3,
		Budget: budget, MinAttempts: 3,
	}
}

func (t Terms) scale(d time.Duration) time.Duration {
	factor := t.TimeScale
	if factor <= 0 {
		factor = 1
	}
	return max(time.Duration(float64(d)*factor), time.Millisecond)
}

// Deadline returns how long an order may stay in a status, with its saga at that step,
// before an operator should look. Steps after the point of no return and compensations
// are retried for longer (CompensationTimeout), but the operator sees them.
func (t Terms) Deadline(status order.Status, step string) time.Duration {
	forward := t.forwardPolicy()
	deadline := forward.Budget + forward.Max
	switch {
	case status == order.StatusNeedsAttention:
		return 0
	case status == order.StatusAwaitingApproval:
		return deadline + t.ApprovalWait()
	case step == StepCarrier:
		return deadline + t.CarrierTimeout
	}
	return deadline
}

// NewState returns the input of an order's saga: the part of the order that a history
// may have, and the terms with the approval limit of the order's currency.
func NewState(o order.Order, t Terms) State {
	s := State{Order: o.ForHistory(), OrderID: o.OrderID, Terms: t}
	if above, limited := t.ApprovalLimits.In(o.Currency); limited {
		s.Terms.ApprovalAbove, s.Asks = above, above == 0
	}
	s.Terms.ApprovalLimits = money.Limits{}
	return s
}

// NeedsApproval reports whether the order must be approved before it is charged.
func (s State) NeedsApproval() bool {
	return !s.Approved && (s.Asks || s.Terms.ApprovalAbove > 0 && s.Order.Total() > s.Terms.ApprovalAbove)
}

// ApprovalWait returns how long a saga waits for an approval: ApprovalTimeout, or 24 hours.
func (t Terms) ApprovalWait() time.Duration {
	return cmp.Or(t.ApprovalTimeout, defaultApprovalTimeout)
}

// Order is the workflow function of Version. The happy path is four durable steps, or three
// if the order does not wait for the carrier.
func Order(ctx *task.WorkflowContext) (any, error) { return run(ctx, approval, carrier) }

// OrderV2 is the workflow function of VersionV2: it does not verify a refusal.
func OrderV2(ctx *task.WorkflowContext) (any, error) {
	unverified := carrier
	unverified.Verify = ""
	return run(ctx, approvalV2, unverified)
}

// OrderV1 is the workflow function of VersionV1: as OrderV2, and it does not accept the
// carrier's answer once the saga needs attention.
func OrderV1(ctx *task.WorkflowContext) (any, error) {
	inTime := carrier
	inTime.Verify, inTime.AcceptLate = "", false
	return run(ctx, approvalV2, inTime)
}

func run(ctx *task.WorkflowContext, approval, carrier saga.Wait[State]) (any, error) {
	var s State
	if err := ctx.GetInput(&s); err != nil {
		return nil, err
	}
	return orderSaga(s.Terms, approval, carrier).Run(ctx, s)
}

func orderSaga(t Terms, approval, carrier saga.Wait[State]) saga.Saga[State] {
	forward, undo := t.forwardPolicy(), t.undoPolicy()
	ship := saga.Step[State]{Name: StepShip, Do: RequestShipment, Retry: undo, PointOfNoReturn: true, AlreadyStarted: shipped}
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
			{Name: "reserve", Do: ReserveStock, Undo: ReleaseStock, Retry: forward, UndoRetry: undo},
			{Name: StepApprove, Wait: &approval, When: State.NeedsApproval},
			{Name: StepCharge, Do: ChargePayment, Undo: RefundPayment, Retry: forward, UndoRetry: undo, AlreadyStarted: charged},
			ship,
			{Name: StepCarrier, Wait: &carrier, When: awaitsCarrier},
			{Name: StepConfirm, Do: ConfirmShipment, Manual: CompleteByHand, ManualRetry: forward, Retry: undo, When: awaitsCarrier},
		},
	}
}

func awaitsCarrier(s State) bool { return s.Terms.AwaitCarrier }
func charged(s State) bool       { return s.ChargeID != "" }
func shipped(s State) bool       { return s.ShipmentID != "" }

// approval waits for a decision. The decision in the order's record holds in the end:
// the client that approved or refused got its answer from there.
var approval = saga.Wait[State]{
	Signal: EventApproval,
	Timeout: func(s State) time.Duration {
		if s.Decided {
			return 0
		}
		return s.Terms.ApprovalWait()
	},
	Received: func(s *State, payload json.RawMessage) *saga.Stop {
		var stop *saga.Stop
		s.Approval, stop = readApproval(payload)
		if stop == nil {
			s.Approval.By, s.Approval.Note = text.Cut(s.Approval.By, text.Max), text.Cut(s.Approval.Note, text.Max)
		}
		return stop
	},
	Settle: SettleApproval,
}

// approvalV2 is approval before v3: the timeout itself was the decision.
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
		return &saga.Stop{Status: string(order.StatusCancelled), Reason: s.Terms.ApprovalExpired()}
	},
}

func readApproval(payload json.RawMessage) (*Approval, *saga.Stop) {
	var a Approval
	if err := json.Unmarshal(payload, &a); err != nil {
		return nil, &saga.Stop{Status: string(order.StatusFailed), Reason: "approval cannot be read: " + err.Error()}
	}
	return &a, nil
}

// ApprovalRefused returns the recorded reason of an order whose approval was refused.
func ApprovalRefused(by, note string) string { return saga.Reason("approval refused", by, note) }

// ApprovalExpired returns the recorded reason of an order whose approval expired. It is
// part of histories and records, and must never change.
func (t Terms) ApprovalExpired() string {
	return "nobody approved it within " + t.ApprovalWait().String()
}

// carrier waits for the carrier's answer.
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
		if text.IsID(a.TrackingID) { // intake rejects others, but a durable-task client may send anything
			s.TrackingID = a.TrackingID
		}
		return nil
	},
	// The parcel may be on its way: neither shipping again nor refunding is
	// safe, so an operator finds out, or the carrier answers after all.
	TimedOut:   func(State) *saga.Stop { return nil },
	AcceptLate: true,
	// A refund is not safe either while the parcel may be on its way: the order's record
	// must have the refusal.
	Verify: VerifyRefusal,
}
