package invariants_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// books is a running system whose ledgers are written by hand.
type books struct {
	*testing.T
	testkit.System
	parcels int           // published for the carrier
	settled time.Duration // of check.Books
	offline bool          // no engine is asked
}

func newBooks(t *testing.T) *books {
	t.Helper()
	b := &books{T: t, System: testkit.NewSystem(t, nil, nil)}
	b.SetStock(t, map[string]int64{"A": 1000})
	return b
}

func newOrder(id string) order.Order {
	return order.Order{
		OrderID: id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}},
	}
}

func (b *books) accept(id string) {
	b.Helper()
	_, _, err := b.Store.Accept(b.Context(), newOrder(id))
	require.NoError(b, err)
}

func (b *books) reserve(id string) {
	b.Helper()
	_, err := b.Store.Reserve(b.Context(), newOrder(id))
	require.NoError(b, err)
}

// charge books a charge; each key is one.
func (b *books) charge(id, key string, amount int64) {
	b.Helper()
	body, err := json.Marshal(payment.Charge{OrderID: id, Amount: amount, Currency: "EUR", Token: "tok_ok"})
	require.NoError(b, err)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, b.Simulators.PaymentURL+"/v1/charges", bytes.NewReader(body))
	require.NoError(b, err)
	req.Header.Set("Idempotency-Key", key)
	res, err := http.DefaultClient.Do(req)
	require.NoError(b, err)
	require.NoError(b, res.Body.Close())
	if res.StatusCode != http.StatusOK {
		b.Fatalf("charge of order %s: status %s, want 200 OK", id, res.Status)
	}
}

func (b *books) ship(id, shipmentID, name string) {
	b.Helper()
	body, err := json.Marshal(events.ShipmentRequest{
		SpecVersion: 1, Type: "ShipmentRequested", ShipmentID: shipmentID, OrderID: id, ShipTo: &order.Address{Name: name},
	})
	require.NoError(b, err)
	_, err = b.Clients.SNS.Publish(b.Context(), &sns.PublishInput{TopicArn: &b.Resources.ShipmentTopic, Message: aws.String(string(body))})
	require.NoError(b, err)
	b.parcels++
}

func (b *books) end(id string, final order.Status) {
	b.Helper()
	require.NoError(b, b.Store.End(b.Context(), id, final, "by hand"))
}

func (b *books) pay(id string) {
	b.Helper()
	require.NoError(b, b.Store.MarkPaid(b.Context(), id, "ch_charge-"+id))
}

func (b *books) sell(id string) {
	b.Helper()
	require.NoError(b, b.Store.Complete(b.Context(), id, "shp-"+id, ""))
}

// edit sets one attribute of one item, as a person at the console may do.
func (b *books) edit(table, key, id, name string, v types.AttributeValue) {
	b.Helper()
	_, err := b.Clients.DynamoDB.UpdateItem(b.Context(), &dynamodb.UpdateItemInput{
		TableName: &table, Key: map[string]types.AttributeValue{key: &types.AttributeValueMemberS{Value: id}},
		UpdateExpression: aws.String("SET #n = :v"), ExpressionAttributeNames: map[string]string{"#n": name},
		ExpressionAttributeValues: map[string]types.AttributeValue{":v": v},
	})
	require.NoError(b, err)
}

func (b *books) books() invariants.Sources {
	books := invariants.Sources{Orders: b.Store, Charges: b.Parts.Payments, Shipments: b.Simulators, Sagas: b.Parts.Engine, Settled: b.settled}
	if b.offline {
		books.Sagas = nil
	}
	return books
}

// leak moves units of A without an order, as a bug would.
func (b *books) leak(from, to string) {
	b.Helper()
	l, err := b.Store.GetLevel(b.Context(), "A")
	require.NoError(b, err)
	now := map[string]int64{"available": l.Available, "reserved": l.Reserved, "sold": l.Sold}
	b.edit("stock", "sku", "A", from, &types.AttributeValueMemberN{Value: strconv.FormatInt(now[from]-5, 10)})
	b.edit("stock", "sku", "A", to, &types.AttributeValueMemberN{Value: strconv.FormatInt(now[to]+5, 10)})
}

// awaiting has a saga that waits for approval.
func (b *books) awaiting(id string) {
	b.Helper()
	b.accept(id)
	terms := b.Worker.Terms
	terms.ApprovalAbove = 1
	state := workflows.State{Order: newOrder(id).WithoutToken(), Terms: terms}
	require.NoError(b, b.Parts.Engine.Start(b.Context(), workflows.OrderSaga, id, state))
	testkit.Eventually(b, "it waits", func() error {
		rec, err := b.Store.Get(b.Context(), id)
		if err == nil && rec.Status != order.StatusAwaitingApproval {
			err = errors.New(string(rec.Status))
		}
		return err
	})
}

// killed has a saga that has ended, and an order that has not.
func (b *books) killed(id string) {
	b.Helper()
	b.awaiting(id)
	require.NoError(b, b.Parts.Engine.Terminate(b.Context(), id, "test"))
	_, err := b.Parts.Engine.Wait(b.Context(), id)
	require.NoError(b, err)
}

// undo releases what an order holds and ends it.
func (b *books) undo(id string) {
	b.Helper()
	require.NoError(b, b.Store.Release(b.Context(), id, order.StatusFailed, "by hand"))
}

func (b *books) refund(id string) {
	b.Helper()
	_, err := b.Parts.Payments.Refund(b.Context(), payment.Entry{OrderID: id})
	require.NoError(b, err)
}

// refunded has a compensated order whose record names the refund.
func (b *books) refunded(id, refundID string) {
	b.Helper()
	b.accept(id)
	b.charge(id, "charge-"+id, 200)
	b.refund(id)
	if refundID != "" {
		require.NoError(b, b.Store.MarkRefunded(b.Context(), id, refundID))
	}
	b.end(id, order.StatusFailed)
}

// arrived waits until the carrier has all parcels.
func (b *books) arrived() {
	b.Helper()
	testkit.Eventually(b, "the carrier has all parcels", func() error {
		s, err := b.Simulators.Shipments(b.Context())
		if err == nil && len(s) < b.parcels {
			err = errors.New("not yet")
		}
		return err
	})
}

func (b *books) check(accepted ...string) invariants.Result {
	b.Helper()
	b.arrived()
	res, err := invariants.Run(b.Context(), b.books(), accepted)
	require.NoError(b, err)
	return res
}

// sound is all that makes a completed order.
func (b *books) sound(id string) {
	b.Helper()
	b.accept(id)
	b.reserve(id)
	b.charge(id, "charge-"+id, 200)
	b.pay(id)
	b.ship(id, "shp-"+id, "")
	b.sell(id)
}

// TestForgottenOrdersViolateNothing: erasing a customer's data keeps everything that the
// checks need.
func TestForgottenOrdersViolateNothing(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	b.sound("o")
	b.refunded("r", "re_charge-r")
	for _, id := range []string{"o", "r"} {
		if erased, err := b.Store.Forget(t.Context(), id, orderstore.Note{Actor: "ann", Action: orderstore.NoteForget}); !erased || err != nil {
			t.Fatalf("erase the customer of order %s: erased = %t, error %v, want true", id, erased, err)
		}
	}
	if res := b.check("o", "r"); len(res.Violations) > 0 {
		t.Errorf("violations = %q, want none", res.Violations)
	}
}

// TestEveryContradictionIsReported breaks one fact per order.
func TestEveryContradictionIsReported(t *testing.T) {
	t.Parallel()
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	for name, c := range map[string]struct {
		write func(b *books, id string)
		want  []string
	}{
		"consistent order": {(*books).sound, nil},
		"negative stock": {
			func(b *books, _ string) {
				b.edit("stock", "sku", "A", "available", &types.AttributeValueMemberN{Value: "-3"})
			},
			[]string{"I1 never oversold: A: available -3 + reserved 0 + sold 0, received 1000"},
		},
		"completed without a charge": {
			func(b *books, id string) {
				b.accept(id)
				b.reserve(id)
				b.pay(id)
				b.ship(id, "shp-"+id, "")
				b.sell(id)
			},
			[]string{"I3 one charge: order x is COMPLETED with 0 charges that stand"},
		},
		"charged twice": {
			func(b *books, id string) { b.sound(id); b.charge(id, "other", 200) },
			[]string{"I3 one charge: order x has 2 charges that stand", "I3 one charge: order x is COMPLETED with 2 charges that stand"},
		},
		"wrong amount": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.charge(id, "charge-"+id, 199)
			b.pay(id)
			b.ship(id, "shp-"+id, "")
			b.sell(id)
		}, []string{"I3 one charge: order x cost 2.00 EUR and was charged 1.99 EUR"}},
		"failed and not refunded": {
			func(b *books, id string) {
				b.accept(id)
				b.charge(id, "charge-"+id, 200)
				b.end(id, order.StatusFailed)
			},
			[]string{"I3 one charge: order x is FAILED with 1 charges that stand"},
		},
		"charge of no order": {
			func(b *books, id string) { b.charge(id, id, 1) },
			[]string{"I3 one charge: charge for order x, which does not exist"},
		},
		"not shipped": {
			func(b *books, id string) {
				b.accept(id)
				b.reserve(id)
				b.charge(id, "charge-"+id, 200)
				b.pay(id)
				b.sell(id)
			},
			[]string{"I4 one shipment: order x is COMPLETED with 0 shipments"},
		},
		"refused and completed": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.charge(id, "charge-"+id, 200)
			b.pay(id)
			b.sell(id)
			b.StopWorker() // it would undo the order
			b.ship(id, "shp-"+id, "REFUSE")
		}, []string{"I4 one shipment: order x is COMPLETED with 0 shipments"}},
		"shipped twice": {
			func(b *books, id string) { b.sound(id); b.ship(id, "shp-other", "") },
			[]string{
				`I4 one shipment: order x has shipment "shp-x", and the carrier "shp-other"`,
				"I4 one shipment: order x is COMPLETED with 2 shipments",
			},
		},
		"shipped and cancelled": {
			func(b *books, id string) {
				b.accept(id)
				b.ship(id, "shp-"+id, "SILENT")
				b.end(id, order.StatusCancelled)
			},
			[]string{`I4 one shipment: order x has shipment "", and the carrier "shp-x"`, "I4 one shipment: order x is CANCELLED and was shipped"},
		},
		"shipment of no order": {
			func(b *books, id string) { b.ship(id, "shp-"+id, "") },
			[]string{"I4 one shipment: shipment for order x, which does not exist"},
		},
		"completed with a held reservation": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.charge(id, "charge-"+id, 200)
			b.pay(id)
			require.NoError(b, b.Store.MarkShipmentRequested(b.Context(), id, "shp-"+id))
			b.ship(id, "shp-"+id, "")
			b.end(id, order.StatusCompleted)
		}, []string{`I5 no reservation left: order x is COMPLETED and its reservation "HELD"`}},
		"declined with a held reservation": {
			func(b *books, id string) { b.accept(id); b.reserve(id); b.end(id, order.StatusDeclined) },
			[]string{"I5 no reservation left: order x is DECLINED and its reservation HELD"},
		},
		"sold, and to be refunded": {func(b *books, id string) {
			b.sound(id)
			b.edit("orders", "orderId", id, "refunding", &types.AttributeValueMemberBOOL{Value: true})
		}, []string{"I3 one charge: order x is COMPLETED and marked to be refunded"}},
		"sold and failed": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.pay(id)
			b.sell(id)
			b.edit("orders", "orderId", id, "status", text("FAILED"))
		}, []string{
			"I3 one charge: order x is FAILED with charge ch_charge-x and without a refund",
			"I5 no reservation left: order x is FAILED and its reservation SOLD",
		}},
		"charged, and forgotten by the provider": {
			func(b *books, id string) { b.accept(id); b.reserve(id); b.pay(id); b.undo(id) },
			[]string{"I3 one charge: order x is FAILED with charge ch_charge-x and without a refund"},
		},
		"charged, and resolved by an operator": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.pay(id)
			b.edit("orders", "orderId", id, "settled", &types.AttributeValueMemberSS{Value: []string{workflows.StepCharge}})
			b.undo(id)
		}, nil},
		"refunded, but not what was charged": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			require.NoError(b, b.Store.MarkPaid(b.Context(), id, "ch_same"))
			b.charge(id, "charge-"+id, 200)
			b.refund(id)
			require.NoError(b, b.Store.MarkRefunded(b.Context(), id, "re_charge-"+id))
			b.undo(id)
		}, []string{"I3 one charge: order x has charge ch_same, which the provider has not, and its refund re_charge-x is of another"}},
		"charged and refunded": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.charge(id, "charge-"+id, 200)
			b.pay(id)
			b.refund(id)
			require.NoError(b, b.Store.MarkRefunded(b.Context(), id, "re_charge-"+id))
			b.undo(id)
		}, nil},
		"reservation of no order": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			_, err := b.Clients.DynamoDB.DeleteItem(b.Context(), &dynamodb.DeleteItemInput{
				TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": text(id)},
			})
			require.NoError(b, err)
		}, []string{"I5 no reservation left: reservation HELD of order x, which does not exist"}},
		"token of a failed order": {func(b *books, id string) {
			b.accept(id)
			b.end(id, order.StatusFailed)
			b.edit("orders", "orderId", id, "token", text("tok_ok"))
		}, []string{"no token kept: order x has ended and its payment token is still stored"}},
		"token of a completed order": {
			func(b *books, id string) { b.sound(id); b.edit("orders", "orderId", id, "token", text("tok_ok")) },
			[]string{"no token kept: order x has ended and its payment token is still stored"},
		},
		"waiting for approval": {(*books).awaiting, nil},
		"leaked reserved units": {
			func(b *books, id string) { b.sound(id); b.leak("available", "reserved") },
			[]string{"I1 never oversold: A: 5 units are reserved, and orders hold 0"},
		},
		"leaked sold units": {
			func(b *books, id string) { b.sound(id); b.leak("available", "sold") },
			[]string{"I1 never oversold: A: 7 units are sold, and orders have bought 2"},
		},
		"accepted without a saga": {(*books).accept, []string{"I2 nothing is lost: order x is PENDING and has no saga"}},
		"reserved without a saga": {
			func(b *books, id string) { b.accept(id); b.reserve(id) },
			[]string{"I2 nothing is lost: order x is RESERVED and has no saga"},
		},
		"paid without a saga": {
			func(b *books, id string) { b.accept(id); b.reserve(id); b.charge(id, "charge-"+id, 200); b.pay(id) },
			[]string{"I2 nothing is lost: order x is PAID and has no saga"},
		},
		"saga terminated": {(*books).killed, []string{"I2 nothing is lost: order x is AWAITING_APPROVAL and its saga has ended TERMINATED"}},
		"waiting for an operator": {func(b *books, id string) {
			b.accept(id)
			require.NoError(b, b.Store.MarkNeedsAttention(b.Context(), id, "stuck"))
		}, nil},
		"another charge": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.charge(id, "other", 200)
			b.pay(id)
			b.ship(id, "shp-"+id, "")
			b.sell(id)
		}, []string{`I3 one charge: order x is COMPLETED with charge "ch_charge-x", and the one that stands is "ch_other"`}},
		"another shipment": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.charge(id, "charge-"+id, 200)
			b.pay(id)
			b.ship(id, "shp-other", "")
			b.sell(id)
		}, []string{`I4 one shipment: order x has shipment "shp-x", and the carrier "shp-other"`}},
		"refunded": {func(b *books, id string) { b.refunded(id, "re_charge-x") }, nil},
		"refunded by another refund": {
			func(b *books, id string) { b.refunded(id, "re_other") },
			[]string{"I3 one charge: order x has refund re_other, and the provider has none of that id for it"},
		},
		"refund not in the record": {
			func(b *books, id string) { b.refunded(id, "") },
			[]string{"I3 one charge: order x has no refund, and the provider has re_charge-x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBooks(t)
			c.write(b, "x")
			if got := b.check(); !slices.Equal(got.Violations, c.want) {
				t.Errorf("got  %q\nwant %q", got.Violations, c.want)
			}
		})
	}
}

func TestLostOrdersAreReported(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	b.sound("here")
	b.awaiting("open")
	res := b.check("here", "gone", "open")
	want := []string{
		"I2 nothing is lost: order gone was accepted and has no record",
		"I2 nothing is lost: order open was accepted and has no outcome: it is AWAITING_APPROVAL",
	}
	if !slices.Equal(res.Violations, want) {
		t.Errorf("violations = %q, want %q", res.Violations, want)
	}
}

// TestOrdersOfRealSagasViolateNothing lets sagas write the records.
func TestOrdersOfRealSagasViolateNothing(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	publish := intake.Publisher{Topic: snspublisher.New(b.Clients.SNS, b.Resources.OrderTopic)}
	want := map[order.Status]int{}
	var ids []string
	for n, c := range []struct {
		token, name string
		quantity    int64
		want        order.Status
	}{
		{"tok_ok", "", 1, order.StatusCompleted},
		{"tok_lost_response", "", 1, order.StatusCompleted},
		{"tok_declined", "", 1, order.StatusDeclined},
		{"tok_ok", "", 2000, order.StatusRejected},
		{"tok_ok", "REFUSE", 1, order.StatusFailed},
	} {
		o := newOrder(fmt.Sprint("o", n))
		o.Payment.Token, o.ShipTo, o.Lines[0].Quantity, o.Lines[0].UnitPrice = c.token, &order.Address{Name: c.name}, c.quantity, 1
		require.NoError(b, publish.PublishOrder(t.Context(), o))
		require.NoError(b, publish.PublishOrder(t.Context(), o)) // a duplicate
		ids = append(ids, o.OrderID)
		want[c.want]++
	}
	for _, id := range ids {
		testkit.Eventually(t, id+" ends", func() error {
			rec, err := b.Store.Get(t.Context(), id)
			if err == nil && !rec.Status.Terminal() {
				err = errors.New(string(rec.Status))
			}
			return err
		})
		_, err := b.Parts.Engine.Wait(t.Context(), id)
		require.NoError(b, err)
	}
	res := b.check(ids...)
	if len(res.Violations) != 0 || res.Orders != len(ids) || !maps.Equal(res.ByStatus, want) {
		t.Errorf("%+v, want %v", res, want)
	}
	if u := res.Ledger.Units; u.Sold != 2 || u.Reserved != 0 || u.Received != 1000 {
		t.Errorf("units = %+v, want 2 sold, 0 reserved, 1000 received", u)
	}
}

// TestEveryPageIsChecked has more of everything than one page holds.
func TestEveryPageIsChecked(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	b.settled = time.Hour // they have no sagas
	const n = 510
	for i := range n {
		id := fmt.Sprint("o", i)
		b.accept(id)
		if i < 500 { // all units on hand
			b.reserve(id)
		}
		b.charge(id, "charge-"+id, 200)
	}
	res := b.check()
	if len(res.Violations) != 0 || res.Orders != n || res.ByStatus[order.StatusReserved] != 500 {
		t.Errorf("result = %+v, want no violations in %d orders, 500 of them RESERVED", res, n)
	}
	b.charge("o3", "other", 200)
	want := []string{"I3 one charge: order o3 has 2 charges that stand"}
	if res := b.check(); !slices.Equal(res.Violations, want) {
		t.Errorf("violations = %q, want %q", res.Violations, want)
	}
}

// TestUnreadableRecordsAreAnError: a missing ledger is not a consistent one.
func TestUnreadableRecordsAreAnError(t *testing.T) {
	t.Parallel()
	denied := testkit.NewAWS(t, func(o *awslocal.Options) {
		o.Fault = func(_, op string) error {
			if op == "Scan" {
				return &awslocal.Error{
					Status: 400, Code: "AccessDeniedException", Shape: "com.amazon.coral.service#AccessDeniedException", Message: "no",
				}
			}
			return nil
		}
	})
	b := newBooks(t)
	unreadable := invariants.Sources{Orders: denied.Store, Charges: b.Parts.Payments, Shipments: b.Simulators}
	if _, err := invariants.Run(t.Context(), unreadable, nil); err == nil {
		t.Error("Run succeeded without access to the tables, want an error")
	}
	away := payment.New(payment.Options{URL: "http://127.0.0.1:1"})
	defer away.Close()
	if _, err := invariants.Run(t.Context(), invariants.Sources{Orders: b.Store, Charges: away, Shipments: b.Simulators}, nil); err == nil {
		t.Error("Run succeeded with an unreachable payment provider, want an error")
	}
	b.Simulators.CarrierURL = "http://127.0.0.1:1"
	if _, err := invariants.Run(t.Context(), b.books(), nil); err == nil {
		t.Error("Run succeeded with an unreachable carrier, want an error")
	}
}

// TestExpiredReservationsAndFreeOrdersViolateNothing: the reservation of an old order has
// expired, and an order that costs nothing is not charged.
func TestExpiredReservationsAndFreeOrdersViolateNothing(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	b.sound("old")
	longAgo := time.Now().Add(-91 * 24 * time.Hour).UTC().Format("2006-01-02T15:04:05.000000000Z")
	b.edit("orders", "orderId", "old", "createdAt", &types.AttributeValueMemberS{Value: longAgo})
	_, err := b.Clients.DynamoDB.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String("reservations"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "old"}},
	})
	require.NoError(b, err)
	free := newOrder("free")
	free.Lines[0].UnitPrice = 0
	_, _, err = b.Store.Accept(t.Context(), free)
	require.NoError(b, err)
	_, err = b.Store.Reserve(t.Context(), free)
	require.NoError(b, err)
	require.NoError(b, b.Store.MarkPaid(t.Context(), "free", ""))
	b.ship("free", "shp-free", "")
	b.sell("free")
	if res := b.check(); len(res.Violations) > 0 || res.ByStatus[order.StatusCompleted] != 2 {
		t.Errorf("result = %+v, want no violations and 2 COMPLETED orders", res)
	}
}

// TestOpenOrderIsLostWithoutAnEngine: an order that has not ended is lost, unless it may wait.
func TestOpenOrderIsLostWithoutAnEngine(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	b.awaiting("person")
	b.accept("pending")
	books := b.books()
	books.Sagas = nil
	res, err := invariants.Run(t.Context(), books, nil)
	if want := []string{"I2 nothing is lost: order pending is PENDING and has not ended"}; err != nil || !slices.Equal(res.Violations, want) {
		t.Errorf("violations = %q, error %v, want %q", res.Violations, err, want)
	}
}

// TestResultIsWrittenAsJSON: scripts read the result.
func TestResultIsWrittenAsJSON(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	out, err := json.Marshal(b.check())
	want := `{"ledger":{"skus":1,"units":{"available":1000,"reserved":0,"sold":0,"received":1000},"violations":[]},` +
		`"byStatus":{},"orders":0,"byHand":0,"unsettled":0,"violations":[]}`
	if err != nil || string(out) != want {
		t.Errorf("result as JSON = %s, error %v, want %s", out, err, want)
	}
}

// lists is a ledger with the entries that a test chooses.
type lists []payment.Entry

func (l lists) ChargesSince(context.Context, time.Time) iter.Seq2[[]payment.Entry, error] {
	return func(yield func([]payment.Entry, error) bool) { yield(l, nil) }
}

// TestInvalidLedgerEntriesAreReported: an invalid entry is a violation, and the other entries
// are still checked. A ledger that lists a charge twice proves nothing.
func TestInvalidLedgerEntriesAreReported(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	b.sound("o")
	b.arrived()
	all, err := b.Parts.Payments.ChargesOf(t.Context(), "o")
	require.NoError(b, err)
	books := b.books()
	books.Charges = append(lists{{Invalid: errors.New("an entry without an id")}}, all...)
	res, err := invariants.Run(t.Context(), books, nil)
	if err != nil || len(res.Violations) != 1 || !strings.HasSuffix(res.Violations[0], "an entry without an id") {
		t.Errorf("violations = %q, error %v, want one about an entry without an id", res.Violations, err)
	}
	books.Charges = append(lists(all), all...)
	_, err = invariants.Run(t.Context(), books, nil)
	if want := "the provider's ledger repeats itself"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want one with %q", err, want)
	}
}
