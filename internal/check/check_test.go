package check_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/check"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/topic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// books is a running system whose ledgers are written by hand.
type books struct {
	*testing.T
	testkit.System
	parcels int // published for the carrier
}

func newBooks(t *testing.T) *books {
	t.Helper()
	b := &books{T: t, System: testkit.NewSystem(t, nil, nil)}
	b.SetStock(t, map[string]int64{"A": 1000})
	return b
}

func (b *books) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
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
	b.must(err)
}

func (b *books) reserve(id string) {
	b.Helper()
	_, err := b.Store.Reserve(b.Context(), newOrder(id), order.StatusReserved)
	b.must(err)
}

// charge books a charge; each key is one.
func (b *books) charge(id, key string, amount int64) {
	b.Helper()
	body, err := json.Marshal(payment.Charge{OrderID: id, Amount: amount, Currency: "EUR", Token: "tok_ok"})
	b.must(err)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, b.Simulators.PaymentURL+"/v1/charges", bytes.NewReader(body))
	b.must(err)
	req.Header.Set("Idempotency-Key", key)
	res, err := http.DefaultClient.Do(req)
	b.must(err)
	b.must(res.Body.Close())
	if res.StatusCode != http.StatusOK {
		b.Fatalf("charge %s: %s", id, res.Status)
	}
}

func (b *books) ship(id, shipmentID, name string) {
	b.Helper()
	body, err := json.Marshal(shipment.Request{
		SpecVersion: 1, Type: "ShipmentRequested", ShipmentID: shipmentID, OrderID: id, ShipTo: &order.Address{Name: name},
	})
	b.must(err)
	_, err = b.Clients.SNS.Publish(b.Context(), &sns.PublishInput{TopicArn: &b.Resources.ShipmentTopic, Message: aws.String(string(body))})
	b.must(err)
	b.parcels++
}

func (b *books) end(id string, final order.Status) {
	b.Helper()
	b.must(b.Store.End(b.Context(), id, final, "by hand"))
}

func (b *books) pay(id string) {
	b.Helper()
	b.must(b.Store.MarkPaid(b.Context(), id, "ch"))
}

func (b *books) sell(id string) {
	b.Helper()
	b.must(b.Store.Sell(b.Context(), id, "shp-"+id, ""))
}

// edit sets one attribute of one item, as a person at the console may do.
func (b *books) edit(table, key, id, name string, v types.AttributeValue) {
	b.Helper()
	_, err := b.Clients.DynamoDB.UpdateItem(b.Context(), &dynamodb.UpdateItemInput{
		TableName: &table, Key: map[string]types.AttributeValue{key: &types.AttributeValueMemberS{Value: id}},
		UpdateExpression: aws.String("SET #n = :v"), ExpressionAttributeNames: map[string]string{"#n": name},
		ExpressionAttributeValues: map[string]types.AttributeValue{":v": v},
	})
	b.must(err)
}

func (b *books) check(accepted ...string) check.Result {
	b.Helper()
	testkit.Eventually(b, "the carrier has all parcels", func() error {
		s, err := b.Simulators.Shipments(b.Context())
		if err == nil && len(s) < b.parcels {
			err = errors.New("not yet")
		}
		return err
	})
	res, err := check.Run(b.Context(), b.Store, b.Parts.Payments, b.Simulators, accepted)
	b.must(err)
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

// TestEveryContradictionIsReported breaks one thing per order.
func TestEveryContradictionIsReported(t *testing.T) {
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	for name, c := range map[string]struct {
		write func(b *books, id string)
		want  []string
	}{
		"nothing": {(*books).sound, nil},
		"ledger": {func(b *books, _ string) {
			b.edit("stock", "sku", "A", "available", &types.AttributeValueMemberN{Value: "-3"})
		},
			[]string{"I1 never oversold: A: available -3 + reserved 0 + sold 0, received 1000"}},
		"uncharged": {func(b *books, id string) { b.accept(id); b.reserve(id); b.pay(id); b.ship(id, id, ""); b.sell(id) },
			[]string{"I3 one charge: order x is COMPLETED with 0 charges that stand"}},
		"charged twice": {func(b *books, id string) { b.sound(id); b.charge(id, "other", 200) },
			[]string{"I3 one charge: order x has 2 charges that stand", "I3 one charge: order x is COMPLETED with 2 charges that stand"}},
		"wrong amount": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.charge(id, id, 199)
			b.pay(id)
			b.ship(id, id, "")
			b.sell(id)
		}, []string{"I3 one charge: order x cost 200 and was charged 199"}},
		"money kept": {func(b *books, id string) { b.accept(id); b.charge(id, id, 200); b.end(id, order.StatusFailed) },
			[]string{"I3 one charge: order x is FAILED with 1 charges that stand"}},
		"charge of no order": {func(b *books, id string) { b.charge(id, id, 1) },
			[]string{"I3 one charge: charge for order x, which does not exist"}},
		"not shipped": {func(b *books, id string) { b.accept(id); b.reserve(id); b.charge(id, id, 200); b.pay(id); b.sell(id) },
			[]string{"I4 one shipment: order x is COMPLETED with 0 shipments"}},
		"refused and completed": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.charge(id, id, 200)
			b.pay(id)
			b.sell(id)
			b.ship(id, id, "REFUSE") // before, it could not be sold
		}, []string{"I4 one shipment: order x is COMPLETED with 0 shipments"}},
		"shipped twice": {func(b *books, id string) { b.sound(id); b.ship(id, "shp-other", "") },
			[]string{"I4 one shipment: order x is COMPLETED with 2 shipments"}},
		"shipped in vain": {func(b *books, id string) { b.accept(id); b.ship(id, id, "SILENT"); b.end(id, order.StatusCancelled) },
			[]string{"I4 one shipment: order x is CANCELLED and was shipped"}},
		"shipment of no order": {func(b *books, id string) { b.ship(id, id, "") },
			[]string{"I4 one shipment: shipment for order x, which does not exist"}},
		"held and completed": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.charge(id, id, 200)
			b.ship(id, id, "")
			b.end(id, order.StatusCompleted)
		}, []string{`I5 no reservation left: order x is COMPLETED and its reservation "HELD"`}},
		"held and declined": {func(b *books, id string) { b.accept(id); b.reserve(id); b.end(id, order.StatusDeclined) },
			[]string{"I5 no reservation left: order x is DECLINED and its reservation HELD"}},
		"sold and failed": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			b.pay(id)
			b.sell(id)
			b.edit("orders", "orderId", id, "status", text("FAILED"))
		}, []string{"I5 no reservation left: order x is FAILED and its reservation SOLD"}},
		"reservation of no order": {func(b *books, id string) {
			b.accept(id)
			b.reserve(id)
			_, err := b.Clients.DynamoDB.DeleteItem(b.Context(), &dynamodb.DeleteItemInput{TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": text(id)}})
			b.must(err)
		}, []string{"I5 no reservation left: reservation HELD of order x, which does not exist"}},
		"token of a failed order": {func(b *books, id string) {
			b.accept(id)
			b.end(id, order.StatusFailed)
			b.edit("orders", "orderId", id, "token", text("tok_ok"))
		}, []string{"no token kept: order x has ended and its payment token is still stored"}},
		"token of a completed order": {func(b *books, id string) { b.sound(id); b.edit("orders", "orderId", id, "token", text("tok_ok")) },
			[]string{"no token kept: order x has ended and its payment token is still stored"}},
		"under way": {func(b *books, id string) { b.accept(id); b.reserve(id); b.charge(id, id, 200); b.ship(id, id, "") }, nil},
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
	b := newBooks(t)
	b.sound("here")
	res := b.check("here", "gone")
	if want := []string{"I2 nothing is lost: order gone was published and has no record"}; !slices.Equal(res.Violations, want) {
		t.Errorf("%q", res.Violations)
	}
}

// TestARealRunIsClean lets sagas do the writing.
func TestARealRunIsClean(t *testing.T) {
	b := newBooks(t)
	publish := intake.Publisher{Topic: topic.New(b.Clients.SNS, b.Resources.OrderTopic)}
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
		b.must(publish.PublishOrder(t.Context(), o))
		b.must(publish.PublishOrder(t.Context(), o)) // a duplicate
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
		b.must(err)
	}
	res := b.check(ids...)
	if len(res.Violations) != 0 || res.Orders != len(ids) || !maps.Equal(res.ByStatus, want) {
		t.Errorf("%+v, want %v", res, want)
	}
	if u := res.Ledger.Units; u.Sold != 2 || u.Reserved != 0 || u.Received != 1000 {
		t.Errorf("%+v", res.Ledger)
	}
}

// TestManyPages has more of everything than one page takes.
func TestManyPages(t *testing.T) {
	b := newBooks(t)
	const n = 510
	for i := range n {
		id := fmt.Sprint("o", i)
		b.accept(id)
		if i < 500 { // the shelf's all
			b.reserve(id)
		}
		b.charge(id, id, 200)
	}
	res := b.check("o0", "o509")
	if len(res.Violations) != 0 || res.Orders != n || res.ByStatus[order.StatusReserved] != 500 {
		t.Errorf("%+v", res)
	}
	b.charge("o3", "other", 200)
	if res := b.check(); !slices.Equal(res.Violations, []string{"I3 one charge: order o3 has 2 charges that stand"}) {
		t.Errorf("%q", res.Violations)
	}
}

// TestWhatCannotBeReadIsAnError: a ledger that is missing is not a clean one.
func TestWhatCannotBeReadIsAnError(t *testing.T) {
	for _, operation := range []string{"Scan", "Query"} {
		t.Run(operation, func(t *testing.T) {
			a := testkit.NewAWS(t, func(o *awslocal.Options) {
				o.Fault = func(_, op string) error {
					if op == operation {
						return &awslocal.Error{Status: 400, Code: "AccessDeniedException", Shape: "com.amazon.coral.service#AccessDeniedException", Message: "no"}
					}
					return nil
				}
			})
			b := newBooks(t)
			if _, err := check.Run(t.Context(), a.Store, b.Parts.Payments, b.Simulators, nil); err == nil {
				t.Error("no error")
			}
		})
	}
	b := newBooks(t)
	away := payment.New(payment.Options{URL: "http://127.0.0.1:1"})
	defer away.Close()
	if _, err := check.Run(t.Context(), b.Store, away, b.Simulators, nil); err == nil {
		t.Error("no payment provider, no error")
	}
	b.Simulators.CarrierURL = "http://127.0.0.1:1"
	if _, err := check.Run(t.Context(), b.Store, b.Parts.Payments, b.Simulators, nil); err == nil {
		t.Error("no carrier, no error")
	}
}

// TestWhatIsMissingForAReason: the reservation of an order of long ago has
// expired, and for one that costs nothing nothing is charged.
func TestWhatIsMissingForAReason(t *testing.T) {
	b := newBooks(t)
	b.sound("old")
	b.edit("orders", "orderId", "old", "createdAt", &types.AttributeValueMemberS{Value: time.Now().Add(-91 * 24 * time.Hour).UTC().Format("2006-01-02T15:04:05.000000000Z")})
	_, err := b.Clients.DynamoDB.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String("reservations"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "old"}},
	})
	b.must(err)
	free := newOrder("free")
	free.Lines[0].UnitPrice = 0
	_, _, err = b.Store.Accept(t.Context(), free)
	b.must(err)
	_, err = b.Store.Reserve(t.Context(), free, order.StatusReserved)
	b.must(err)
	b.must(b.Store.MarkPaid(t.Context(), "free", ""))
	b.ship("free", "shp-free", "")
	b.sell("free")
	if res := b.check(); len(res.Violations) > 0 || res.ByStatus[order.StatusCompleted] != 2 {
		t.Errorf("%+v", res)
	}
}
