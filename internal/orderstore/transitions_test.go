package orderstore_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// reservation is what the order of a transition holds before the event.
type reservation int

const (
	holdsNothing reservation = iota
	holdsStock
	hasSold
)

// storeEvent is how a test makes one event happen to an order.
type storeEvent struct {
	do func(ctx context.Context, s *orderstore.Store, o order.Order) error
	// given is what the order must have for the event, besides its status.
	given reservation
	sets  map[string]types.AttributeValue
	// writes is true if the event changes the order also where it does not happen: as
	// another event.
	writes bool
}

func attr(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// storeEvents has every event of order.Transitions.
func storeEvents() map[order.Event]storeEvent {
	charged := map[string]types.AttributeValue{"chargeId": attr("ch")}
	requested := map[string]types.AttributeValue{"chargeId": attr("ch"), "shipmentId": attr("shp")}
	reserve := func(next order.Status) func(context.Context, *orderstore.Store, order.Order) error {
		return func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			var err error
			if next == order.StatusAwaitingApproval {
				_, err = s.ReserveForApproval(ctx, o, 0)
			} else {
				_, err = s.Reserve(ctx, o)
			}
			return err
		}
	}
	decide := func(d orderstore.Decision) storeEvent {
		return storeEvent{given: holdsStock, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.Decide(ctx, o.OrderID, d, orderstore.Note{Actor: "ann", Action: string(d)})
		}}
	}
	answer := func(said orderstore.Carrier) func(context.Context, *orderstore.Store, order.Order) error {
		return func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			_, _, err := s.RecordCarrierAnswer(ctx, o.OrderID, orderstore.CarrierAnswer{ShipmentID: "shp", Answer: said})
			return err
		}
	}
	release := func(final order.Status) storeEvent {
		return storeEvent{given: holdsStock, writes: true, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.Release(ctx, o.OrderID, final, "why")
		}}
	}
	resume := func(to order.Status) storeEvent {
		return storeEvent{given: holdsStock, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.ResumeFromAttention(ctx, o.OrderID, to)
		}}
	}
	return map[order.Event]storeEvent{
		order.Accepted: {do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			_, _, err := s.Accept(ctx, o)
			return err
		}},
		order.StockReserved:     {do: reserve(order.StatusReserved)},
		order.ApprovalRequested: {do: reserve(order.StatusAwaitingApproval)},
		order.OutOfStock: {do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			o.Lines = []order.Line{{SKU: "none", Quantity: 1, UnitPrice: 100}}
			_, err := s.Reserve(ctx, o)
			return err
		}},
		order.Approved: decide(
			orderstore.Approved,
		), order.ApprovalRejected: decide(orderstore.Rejected), order.ApprovalExpired: decide(orderstore.Expired),
		order.Paid: {given: holdsStock, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.MarkPaid(ctx, o.OrderID, "ch")
		}},
		order.ShipmentRequested: {given: holdsStock, sets: charged, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.MarkShipmentRequested(ctx, o.OrderID, "shp")
		}},
		order.Dispatched: {given: holdsStock, sets: requested, do: answer(orderstore.Dispatched)},
		order.Refused:    {given: holdsStock, sets: requested, do: answer(orderstore.Refused)},
		order.Completed: {given: holdsStock, sets: requested, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.Complete(ctx, o.OrderID, "shp", "")
		}},
		order.SaleFound: {given: hasSold, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.MarkSold(ctx, o.OrderID, "ch", "shp")
		}},
		order.SaleReopened: {given: hasSold, sets: requested, do: answer(orderstore.Refused), writes: true}, // else order.Refused
		order.CancelRequested: {given: holdsStock, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.RequestCancel(ctx, o.OrderID, orderstore.Note{Actor: "ann", Action: orderstore.NoteCancel})
		}},
		order.RefundStarted: {given: holdsStock, sets: charged, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			_, err := s.MarkRefunding(ctx, o.OrderID)
			return err
		}},
		order.Refunded: {given: holdsStock, sets: charged, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.MarkRefunded(ctx, o.OrderID, "re")
		}},
		order.Rejected:  release(order.StatusRejected),
		order.Declined:  release(order.StatusDeclined),
		order.Cancelled: release(order.StatusCancelled),
		order.Failed:    release(order.StatusFailed),
		order.AttentionNeeded: {given: holdsStock, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.MarkNeedsAttention(ctx, o.OrderID, "why")
		}},
		order.Resolved: {given: holdsStock, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.Resolve(ctx, o.OrderID, "ship", "skip", orderstore.Note{Actor: "ann", Action: "skip"})
		}},
		order.StepDoneByHand: {given: holdsStock, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.MarkStepDone(ctx, o.OrderID, "ship")
		}},
		order.Abandoned: {given: holdsStock, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.MarkAbandoned(ctx, o.OrderID)
		}},
		order.ResumedUnreserved: resume(order.StatusPending), order.ResumedReserved: resume(order.StatusReserved),
		order.ResumedAwaitingApproval: resume(order.StatusAwaitingApproval), order.ResumedPaid: resume(order.StatusPaid),
		order.MarkTerminated: {given: holdsStock, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			return s.MarkTerminated(ctx, o.OrderID, "why")
		}},
		order.SagaRestarted: {
			given: holdsStock, sets: map[string]types.AttributeValue{"sagaTerminated": attr("why")},
			do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
				return s.ClearTerminated(ctx, o.OrderID)
			},
		},
		order.CustomerErased: {given: holdsStock, do: func(ctx context.Context, s *orderstore.Store, o order.Order) error {
			_, err := s.Forget(ctx, o.OrderID, orderstore.Note{Actor: "ann", Action: orderstore.NoteForget})
			return err
		}},
	}
}

// TestStoreFollowsTransitions applies every event to an order of every status. The store must
// allow what order.Transitions allows, with the status that it has, and leave the order
// unchanged otherwise.
func TestStoreFollowsTransitions(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 1_000_000})
	s, events := a.Store, storeEvents()
	for _, tr := range order.Transitions() {
		event, ok := events[tr.Event]
		if !ok {
			t.Errorf("event %q has no test, want one for every event", tr.Event)
			continue
		}
		for _, from := range append(order.Statuses(), "") {
			want, allowed := order.Next(from, tr.Event)
			if from == "" && !allowed {
				continue // there is no such order
			}
			o := newOrder(strings.ReplaceAll(fmt.Sprint(tr.Event, ".", from), " ", "-"))
			o.OrderID = strings.NewReplacer(":", "", ",", "").Replace(o.OrderID)
			if from != "" {
				inStatus(t, a, o, from, event)
			}
			before := item(t, a, o.OrderID)
			err := event.do(t.Context(), s, o)
			if err != nil && allowed {
				t.Errorf("%q in status %q: %v, want no error", tr.Event, from, err)
			}
			if !allowed {
				want = from
			}
			after := item(t, a, o.OrderID)
			if got := statusOf(after); got != want {
				t.Errorf("%q in status %q leads to %q, want %q", tr.Event, from, got, want)
			}
			if !allowed && !event.writes && !reflect.DeepEqual(before, after) {
				t.Errorf("%q in status %q changed the order from %v to %v, want it unchanged", tr.Event, from, before, after)
			}
			if allowed && reflect.DeepEqual(before, after) {
				t.Errorf("%q in status %q left the order as it was, want a change of %v", tr.Event, from, before)
			}
		}
	}
}

// inStatus records an order, what it holds, and its status, past the state machine.
func inStatus(t *testing.T, a testkit.AWS, o order.Order, status order.Status, e storeEvent) {
	t.Helper()
	ctx, s := t.Context(), a.Store
	accept(t, s, o)
	var err error
	if e.given != holdsNothing {
		_, err = s.Reserve(ctx, o)
	}
	if err == nil && e.given == hasSold {
		err = s.MarkPaid(ctx, o.OrderID, "ch")
		if err == nil {
			err = s.Complete(ctx, o.OrderID, "shp", "")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	expression, values := "SET #status = :status", map[string]types.AttributeValue{":status": attr(string(status))}
	var built strings.Builder
	for name, v := range e.sets {
		built.WriteString(", " + name + " = :" + name)
		values[":"+name] = v
	}
	expression += built.String()
	_, err = a.Clients.DynamoDB.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": attr(o.OrderID)},
		UpdateExpression: &expression, ExpressionAttributeNames: map[string]string{"#status": "status"},
		ExpressionAttributeValues: values,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// item is an order's row, without the time of its last change.
func item(t *testing.T, a testkit.AWS, id string) map[string]types.AttributeValue {
	t.Helper()
	out, err := a.Clients.DynamoDB.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": attr(id)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return maps.Clone(out.Item)
}

func statusOf(item map[string]types.AttributeValue) order.Status {
	s, _ := item["status"].(*types.AttributeValueMemberS)
	if s == nil {
		return ""
	}
	return order.Status(s.Value)
}
