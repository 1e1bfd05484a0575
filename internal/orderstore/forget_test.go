package orderstore_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestForgetErasesPersonalData(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	s := a.Store
	a.SetStock(t, map[string]int64{"A": 10})
	theirs := func(id string) order.Order {
		o := newOrder(id)
		o.CustomerID, o.ShipTo = "c-erika", &order.Address{Name: "Erika Mustermann", Line1: "Heidestr 17", City: "Köln", Country: "DE"}
		return accept(t, s, o)
	}
	n := orderstore.Note{Actor: "ann", Action: orderstore.NoteForget, Text: "asked for it"}
	o := theirs("o")
	if erased, err := s.Forget(t.Context(), "o", n); erased || !errors.Is(err, orderstore.ErrOpen) {
		t.Errorf("an order that has not ended: erased = %t, error = %v, want false and %v", erased, err, orderstore.ErrOpen)
	}
	require.NoError(t, s.AddNote(t.Context(), "o", orderstore.Note{Actor: "ann", Action: "called", Text: "Erika was at Heidestr 17"}))
	require.NoError(
		t,
		s.RequestCancel(
			t.Context(),
			"o",
			orderstore.Note{Actor: "Erika", Action: orderstore.NoteCancel, Text: "Erika wants this", For: orderstore.Customer},
		),
	)
	require.NoError(t, s.MarkTerminated(t.Context(), "o", "for Erika"))
	require.NoError(t, s.Release(t.Context(), "o", order.StatusCancelled, "cancelled by Erika"))
	before := wantStatus(t, s, "o", order.StatusCancelled)
	theirs("open")

	for round, want := range []bool{true, false} {
		if erased, err := s.Forget(t.Context(), "o", n); erased != want || err != nil {
			t.Fatalf("round %d: erased = %t, error = %v, want %t and no error", round, erased, err, want)
		}
	}
	rec := wantStatus(t, s, "o", order.StatusCancelled)
	if !rec.Forgotten || rec.Total != before.Total || len(rec.Lines) != 1 || rec.Updated != before.Updated || len(rec.Notes) != 3 ||
		rec.Notes[2].Action != orderstore.NoteForget || rec.Notes[2].Actor != "ann" {
		t.Errorf("order = %+v, want it forgotten, total %d, one line, updated %s, and 3 notes, the last one %s by ann",
			rec, before.Total, before.Updated, orderstore.NoteForget)
	}
	raw := func(id string) string {
		out, err := a.Clients.DynamoDB.GetItem(t.Context(), &dynamodb.GetItemInput{
			TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: id}},
		})
		require.NoError(t, err)
		b, err := json.Marshal(out.Item)
		require.NoError(t, err)
		return string(b)
	}
	for _, data := range []string{"rika", "Heidestr", "Köln", "fingerprint"} { // which is a hash over these
		if !strings.Contains(raw("open"), data) || strings.Contains(raw("o"), data) {
			t.Errorf("open order = %s, forgotten order = %s, want %q only in the open one", raw("open"), raw("o"), data)
		}
	}
	page, err := s.List(t.Context(), orderstore.Query{CustomerID: "c-erika", Limit: 10})
	if err != nil || len(page.Records) != 1 || page.Records[0].OrderID != "open" {
		t.Errorf("orders of c-erika = %+v, error = %v, want only the order open", page.Records, err)
	}

	// The same message, late, starts nothing and brings nothing back; another order
	// is another one.
	for _, late := range []func(*order.Order){func(*order.Order) {}, func(o *order.Order) { o.CustomerID = "c-2" }} {
		again := o
		late(&again)
		if rec, created, err := s.Accept(t.Context(), again); err != nil || created || rec.CustomerID != "" || rec.ShipTo != nil {
			t.Errorf("order = %+v, created = %t, error = %v, want it not created, without customer and address", rec, created, err)
		}
	}
	other := o
	other.Lines = []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 100}}
	if _, _, err := s.Accept(t.Context(), other); !errors.Is(err, orderstore.ErrConflict) {
		t.Errorf("another order: error = %v, want %v", err, orderstore.ErrConflict)
	}
	if _, err := s.Forget(t.Context(), "nobody", n); !errors.Is(err, orderstore.ErrNotFound) {
		t.Errorf("error = %v, want %v", err, orderstore.ErrNotFound)
	}
}
