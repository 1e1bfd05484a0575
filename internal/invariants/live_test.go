package invariants_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

// waiting is all that makes an order that waits for a silent carrier, but for
// its saga.
func (b *books) waiting(id string) {
	b.Helper()
	b.accept(id)
	b.reserve(id)
	b.charge(id, "charge-"+id, 200)
	b.pay(id)
	require.NoError(b, b.Store.MarkShipmentRequested(b.Context(), id, "shp-"+id))
	b.ship(id, "shp-"+id, "SILENT")
}

// parked is waiting, and needs attention.
func (b *books) parked(id string) {
	b.Helper()
	b.waiting(id)
	require.NoError(b, b.Store.MarkNeedsAttention(b.Context(), id, "carrier: silent"))
}

// unreserved has lost its reservation; its units are available again.
func (b *books) unreserved(id string) {
	b.Helper()
	_, err := b.Clients.DynamoDB.DeleteItem(b.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String("reservations"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: id}},
	})
	require.NoError(b, err)
	b.pieces("available", 1000)
	b.pieces("reserved", 0)
}

// greedy has a reservation of four units, which are reserved or sold.
func (b *books) greedy(id, as string) {
	b.Helper()
	b.edit("reservations", "orderId", id, "items", &types.AttributeValueMemberS{Value: `[{"sku":"A","quantity":4}]`})
	b.pieces("available", 996)
	b.pieces(as, 4)
}

func (b *books) pieces(as string, n int64) {
	b.Helper()
	b.edit("stock", "sku", "A", as, &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)})
}

// TestWaitingOrdersHaveTheirReservationAndCharge: an order that waits for the carrier or an
// operator must have both, unless it changed a moment ago.
func TestWaitingOrdersHaveTheirReservationAndCharge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		write func(b *books, id string)
		want  []string
	}{
		"waiting for the carrier": {(*books).waiting, nil},
		"waiting for an operator": {(*books).parked, nil},
		"being refunded": {func(b *books, id string) {
			b.waiting(id)
			_, err := b.Store.MarkRefunding(b.Context(), id)
			require.NoError(b, err)
			_, err = b.Parts.Payments.Refund(b.Context(), payment.Entry{OrderID: id})
			require.NoError(b, err)
		}, nil},
		"changed recently": {func(b *books, id string) { b.waiting(id); b.unreserved(id); b.settled = time.Hour }, nil},
		"another charge": {func(b *books, id string) {
			b.waiting(id)
			b.edit("orders", "orderId", id, "chargeId", &types.AttributeValueMemberS{Value: "ch_FAKE"})
		}, []string{`I3 one charge: order x is PAID with charge "ch_FAKE", and the one that stands is "ch_charge-x"`}},
		"no charge in the record": {func(b *books, id string) {
			b.waiting(id)
			b.edit("orders", "orderId", id, "chargeId", &types.AttributeValueMemberS{})
		}, []string{`I3 one charge: order x is PAID with charge "", and the one that stands is "ch_charge-x"`}},
		"refund not in the record": {func(b *books, id string) {
			b.parked(id)
			_, err := b.Parts.Payments.Refund(b.Context(), payment.Entry{OrderID: id})
			require.NoError(b, err)
		}, []string{"I3 one charge: order x is NEEDS_ATTENTION with 0 charges that stand"}},
		"reservation lost": {
			func(b *books, id string) { b.waiting(id); b.unreserved(id) },
			[]string{`I1 never oversold: order x is PAID and its reservation ""`},
		},
		"reservation lost before the approval": {
			func(b *books, id string) { b.awaiting(id); b.unreserved(id) },
			[]string{`I1 never oversold: order x is AWAITING_APPROVAL and its reservation ""`},
		},
		"more reserved than ordered": {
			func(b *books, id string) { b.waiting(id); b.greedy(id, "reserved") },
			[]string{"I1 never oversold: order x is PAID over [{A 2}], and its reservation HELD over [{A 4}]"},
		},
		"more reserved than ordered, waiting for an operator": {
			func(b *books, id string) { b.parked(id); b.greedy(id, "reserved") },
			[]string{"I1 never oversold: order x is NEEDS_ATTENTION over [{A 2}], and its reservation HELD over [{A 4}]"},
		},
		"sold while an operator decides": {func(b *books, id string) {
			b.parked(id)
			b.edit("reservations", "orderId", id, "state", &types.AttributeValueMemberS{Value: "SOLD"})
		}, []string{
			"I1 never oversold: A: 2 units are reserved, and orders hold 0",
			"I1 never oversold: A: 0 units are sold, and orders have bought 2",
			`I1 never oversold: order x is NEEDS_ATTENTION and its reservation "SOLD"`,
		}},
		"in no list": {func(b *books, id string) {
			b.waiting(id)
			b.edit("orders", "orderId", id, "statusShard", &types.AttributeValueMemberS{Value: "PAID"})
		}, []string{"I2 nothing is lost: order x is PAID and in no list, so the reconciler does not find it: " +
			"its record has no right statusShard, or no placed"}},
		"unknown status": {func(b *books, id string) {
			b.waiting(id)
			b.edit("orders", "orderId", id, "status", &types.AttributeValueMemberS{Value: "LIMBO"})
		}, []string{`I2 nothing is lost: order x has the status "LIMBO", which is none`}},
		"more sold than ordered": {
			func(b *books, id string) { b.sound(id); b.greedy(id, "sold") },
			[]string{"I1 never oversold: order x is COMPLETED over [{A 2}], and its reservation SOLD over [{A 4}]"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBooks(t)
			b.offline = true
			c.write(b, "x")
			if got := b.check(); !slices.Equal(got.Violations, c.want) {
				t.Errorf("got  %q\nwant %q", got.Violations, c.want)
			}
		})
	}
}

// TestOperatorsShipmentIsNotChecked: the shipment of an order that an operator has sent or
// confirmed is not checked. Everything else is.
func TestOperatorsShipmentIsNotChecked(t *testing.T) {
	t.Parallel()
	for _, step := range []string{workflows.StepShip, workflows.StepCarrier, workflows.StepConfirm} {
		b := newBooks(t)
		for _, id := range []string{"x", "unpaid"} {
			b.accept(id)
			b.reserve(id)
			b.pay(id)
			require.NoError(b, b.Store.MarkShipmentRequested(t.Context(), id, "shp-"+id))
			require.NoError(b, b.Store.MarkNeedsAttention(t.Context(), id, step+": stuck"))
			require.NoError(b, b.Store.Resolve(t.Context(), id, step, "resolve", orderstore.Note{Actor: "ann", Action: "resolve"}))
			require.NoError(b, b.Store.Complete(t.Context(), id, "shp-"+id, ""))
		}
		b.charge("x", "charge-x", 200)
		want := []string{"I3 one charge: order unpaid is COMPLETED with 0 charges that stand"}
		if got := b.check(); !slices.Equal(got.Violations, want) || got.ManuallyResolved != 2 {
			t.Errorf("%s: violations = %q, resolved by hand = %d, want %q and 2", step, got.Violations, got.ManuallyResolved, want)
		}
	}
}

// TestOperatorsDecisionLimitsTheChecks: an order has failed with a charge and a parcel. Only
// the facts that an operator has decided about are not checked.
func TestOperatorsDecisionLimitsTheChecks(t *testing.T) {
	t.Parallel()
	const (
		charge  = "I3 one charge: order x is FAILED with 1 charges that stand"
		parcel  = "I4 one shipment: order x is FAILED and was shipped"
		another = `I4 one shipment: order x has shipment "shp-x", and the carrier "shp-other"`
	)
	all := []string{another, charge, parcel}
	decide := func(step, action string) func(b *books) {
		return func(b *books) {
			require.NoError(b, b.Store.MarkNeedsAttention(b.Context(), "x", step+": stuck"))
			require.NoError(b, b.Store.Resolve(b.Context(), "x", step, action, orderstore.Note{Actor: "ann", Action: action}))
		}
	}
	for name, c := range map[string]struct {
		decide func(b *books)
		want   []string
		byHand int
	}{
		"no decision": {func(*books) {}, all, 0},
		"note without a decision": {func(b *books) {
			require.NoError(b, b.Store.AddNote(b.Context(), "x", orderstore.Note{Actor: "ann", Action: "skip"}))
		}, all, 0},
		"refund retried":  {decide(workflows.StepCharge, "retry"), all, 0},
		"refunded":        {decide(workflows.StepCharge, "resolve"), []string{another, parcel}, 1},
		"release skipped": {decide("reserve", "skip"), all, 0},
		"shipped":         {decide(workflows.StepShip, "resolve"), []string{charge}, 1},
		"compensated":     {decide(workflows.StepCarrier, "compensate"), []string{charge}, 1},
		"compensated without a saga": {func(b *books) {
			require.NoError(b, b.Store.MarkNeedsAttention(b.Context(), "x", "carrier: silent"))
			require.NoError(b, b.Store.MarkAbandoned(b.Context(), "x"))
		}, []string{charge}, 1},
		"compensated, and the refund skipped": {func(b *books) {
			decide(workflows.StepShip, "compensate")(b)
			decide(workflows.StepCharge, "skip")(b)
		}, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBooks(t)
			b.accept("x")
			b.reserve("x")
			b.charge("x", "charge-x", 200)
			b.pay("x")
			require.NoError(b, b.Store.MarkShipmentRequested(t.Context(), "x", "shp-x"))
			b.ship("x", "shp-other", "SILENT")
			c.decide(b)
			require.NoError(b, b.Store.Release(t.Context(), "x", order.StatusFailed, "by hand"))
			if got := b.check(); !slices.Equal(got.Violations, c.want) || got.ManuallyResolved != c.byHand {
				t.Errorf("%d by hand: got  %q\nwant %d, %q", got.ManuallyResolved, got.Violations, c.byHand, c.want)
			}
		})
	}
}
