package orderstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func refusal(id string) orderstore.CarrierAnswer {
	return orderstore.CarrierAnswer{ShipmentID: "shp-" + id, Answer: orderstore.Refused, Reason: "island"}
}

func dispatch(id, tracking string) orderstore.CarrierAnswer {
	return orderstore.CarrierAnswer{ShipmentID: "shp-" + id, Answer: orderstore.Dispatched, TrackingID: tracking}
}

// requested is an order whose shipment was requested.
func requested(t *testing.T, s *orderstore.Store, id string) order.Order {
	t.Helper()
	o := accept(t, s, newOrder(id))
	_, err := s.Reserve(t.Context(), o)
	if err = errors.Join(err, s.MarkPaid(t.Context(), id, "ch"), s.MarkShipmentRequested(t.Context(), id, "shp-"+id)); err != nil {
		t.Fatal(err)
	}
	return o
}

// completed is an order that did not wait for the carrier.
func completed(t *testing.T, s *orderstore.Store, id string) {
	t.Helper()
	o := requested(t, s, id)
	if err := s.CompleteHolding(t.Context(), id, "shp-"+id, "", o.Demand()); err != nil {
		t.Fatal(err)
	}
}

func TestFirstCarrierAnswerCounts(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	s := a.Store
	if _, _, err := s.RecordCarrierAnswer(t.Context(), "nobody", refusal("nobody")); !errors.Is(err, orderstore.ErrNotFound) {
		t.Errorf("answer to an unknown order: error = %v, want %v", err, orderstore.ErrNotFound)
	}
	o := requested(t, s, "o")
	answer := func(a orderstore.CarrierAnswer) orderstore.Record {
		t.Helper()
		for range 2 {
			rec, reopened, err := s.RecordCarrierAnswer(t.Context(), "o", a)
			if err != nil || reopened || rec.Carrier != orderstore.Refused || rec.RefusedFor() != "island" || len(rec.Notes) != 1 ||
				rec.OrderID != "o" {
				t.Errorf("order = %+v, reopened = %t, error = %v, want o refused for island, with one note, not reopened", rec, reopened, err)
			}
		}
		return wantStatus(t, s, "o", order.StatusPaid)
	}
	answer(refusal("o"))
	if rec := answer(dispatch("o", "trk")); rec.TrackingID != "" { // the first word counts
		t.Errorf("order = %+v, want no tracking id: the first answer counts", rec)
	}
	if err := s.CompleteHolding(t.Context(), "o", "shp-o", "", o.Demand()); !errors.Is(err, orderstore.ErrFinished) {
		t.Errorf("sold what the carrier does not take: error = %v, want %v", err, orderstore.ErrFinished)
	}
	if err := s.MarkShipmentRequested(t.Context(), "o", "shp-o"); !errors.Is(err, orderstore.ErrFinished) {
		t.Errorf("asked again for what the carrier does not take: error = %v, want %v", err, orderstore.ErrFinished)
	}
	wantLevel(t, s, "A", 8, 2, 0)
}

// TestCarrierAnswersWithoutARequestAreRejected: the answer leaves no trace in the order.
func TestCarrierAnswersWithoutARequestAreRejected(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	s := a.Store
	accept(t, s, newOrder("early"))
	requested(t, s, "o")
	for _, c := range []struct {
		id     string
		answer orderstore.CarrierAnswer
	}{
		{"early", refusal("early")}, // no shipment was requested yet
		{"early", dispatch("early", "trk")},
		{"early", orderstore.CarrierAnswer{Answer: orderstore.Refused}},
		{"o", refusal("other")},
		{"o", dispatch("other", "trk")},
	} {
		before, err := s.Get(t.Context(), c.id)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.RecordCarrierAnswer(t.Context(), c.id, c.answer); !errors.Is(err, orderstore.ErrNotRequested) {
			t.Errorf("%+v: error = %v, want %v", c, err, orderstore.ErrNotRequested)
		}
		if rec, err := s.Get(t.Context(), c.id); err != nil || rec.Carrier != "" || rec.TrackingID != "" || len(rec.Notes) != 0 ||
			rec.Updated != before.Updated {
			t.Errorf("%+v: order = %+v, error = %v, want no answer, tracking id or note, and no update since %s", c, rec, err, before.Updated)
		}
	}
}

// TestTrackingIDsAreKeptOnceInOrder: each tracking id is kept once, in order of arrival.
func TestTrackingIDsAreKeptOnceInOrder(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	s := a.Store
	answer := func(id, tracking string, want ...string) {
		t.Helper()
		rec, _, err := s.RecordCarrierAnswer(t.Context(), id, dispatch(id, tracking))
		if err != nil || !slices.Equal(rec.TrackingIDs, want) || rec.TrackingID != append(want, "")[0] {
			t.Errorf("%s %q: %v %q %v, want %v", id, tracking, rec.TrackingIDs, rec.TrackingID, err, want)
		}
	}
	requested(t, s, "o")
	answer("o", "a", "a")
	answer("o", "a", "a")
	answer("o", "", "a")
	answer("o", "b", "a", "b")
	answer("o", "b", "a", "b")
	answer("o", "a", "a", "b")
	for n := len([]string{"a", "b"}); n < 20; n++ {
		if _, _, err := s.RecordCarrierAnswer(t.Context(), "o", dispatch("o", fmt.Sprint("trk-", n))); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := s.RecordCarrierAnswer(t.Context(), "o", dispatch("o", "one too many")); !errors.Is(err, orderstore.ErrTooManyParcels) {
		t.Errorf("parcel 21: error = %v, want %v", err, orderstore.ErrTooManyParcels)
	}
	requested(t, s, "late") // first dispatched, and the tracking id afterwards
	answer("late", "")
	answer("late", "a", "a")

	requested(t, s, "old") // has one from before there could be several
	answer("old", "a", "a")
	_, err := a.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "old"}},
		UpdateExpression: aws.String("REMOVE trackingIds"),
	})
	if err != nil {
		t.Fatal(err)
	}
	answer("old", "b", "a", "b")

	requested(t, s, "both") // at the same time
	answer("both", "a", "a")
	var g sync.WaitGroup
	for _, id := range []string{"b", "c", "b", "c"} {
		g.Go(func() {
			if _, _, err := s.RecordCarrierAnswer(context.WithoutCancel(t.Context()), "both", dispatch("both", id)); err != nil &&
				!errors.Is(err, orderstore.ErrFinished) {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if rec, err := s.Get(t.Context(), "both"); err != nil || len(rec.TrackingIDs) != 3 {
		t.Errorf("tracking ids = %v, error = %v, want 3 of them", rec.TrackingIDs, err)
	}
}

// TestLateRefusalReopensACompletedOrder: the order is COMPLETED and the carrier has not
// answered before.
func TestLateRefusalReopensACompletedOrder(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	s := a.Store
	completed(t, s, "o")
	wantLevel(t, s, "A", 8, 0, 2)
	var reopened [4]bool
	var g sync.WaitGroup
	for i := range reopened { // the message is delivered four times at once
		g.Go(func() {
			var err error
			_, reopened[i], err = s.RecordCarrierAnswer(context.WithoutCancel(t.Context()), "o", refusal("o"))
			if err != nil && !errors.Is(err, orderstore.ErrFinished) {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if n := len(slices.DeleteFunc(reopened[:], func(r bool) bool { return !r })); n != 1 {
		t.Errorf("the order was reopened %d times, want 1", n)
	}
	rec, err := s.Get(t.Context(), "o")
	if err != nil || rec.Status != order.StatusPaid || rec.Carrier != orderstore.Refused || rec.RefusedFor() != "island" ||
		len(rec.Notes) != 1 {
		t.Errorf("order = %+v, error = %v, want it PAID, refused for island, with one note", rec, err)
	}
	wantLevel(t, s, "A", 8, 2, 0)
	if res, err := s.GetReservation(t.Context(), "o"); err != nil || res.State != orderstore.HoldHeld || res.ExpiresAt != 0 {
		t.Errorf("reservation = %+v, error = %v, want state %s and no expiry", res, err, orderstore.HoldHeld)
	}
	if err := s.Release(t.Context(), "o", order.StatusFailed, "refused"); err != nil {
		t.Error(err)
	}
	wantLevel(t, s, "A", 10, 0, 0)
	if rec, reopened, err := s.RecordCarrierAnswer(t.Context(), "o", refusal("o")); err != nil || reopened ||
		rec.Status != order.StatusFailed || len(rec.Notes) != 1 {
		t.Errorf("the refusal again: order = %+v, reopened = %t, error = %v, want it FAILED, with one note, not reopened", rec, reopened, err)
	}
}

// TestRefusalReasonOfAForgottenOrderIsNotKept: the carrier's reason may quote the forgotten
// customer.
func TestRefusalReasonOfAForgottenOrderIsNotKept(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	s := a.Store
	completed(t, s, "sold")
	requested(t, s, "failed")
	completed(t, s, "dispatched")
	_, _, err := s.RecordCarrierAnswer(t.Context(), "dispatched", dispatch("dispatched", "trk"))
	require.NoError(t, err)
	_, err = s.MarkRefunding(t.Context(), "failed")
	require.NoError(t, err)
	require.NoError(t, s.Release(t.Context(), "failed", order.StatusFailed, "lost"))
	for id, status := range map[string]order.Status{
		"sold": order.StatusPaid, "failed": order.StatusFailed,
		"dispatched": order.StatusCompleted,
	} {
		_, err := s.Forget(t.Context(), id, orderstore.Note{Actor: "ann", Action: orderstore.NoteForget})
		require.NoError(t, err)
		for n := range 2 {
			rec, reopened, err := s.RecordCarrierAnswer(t.Context(), id, refusal(id))
			if want := id == "sold" && n == 0; err != nil || reopened != want {
				t.Errorf("refusal %d of order %s: reopened = %t, error = %v, want %t and no error", n+1, id, reopened, err, want)
			}
			if rec.Redact("island") != "" || rec.RefusedFor() != "" {
				t.Errorf("order %s = %+v, refused for %q, want no reason, and the reason island redacted", id, rec, rec.RefusedFor())
			}
		}
		rec, err := s.Get(t.Context(), id)
		require.NoError(t, err)
		if all := fmt.Sprintf("%+v", rec); rec.Status != status || strings.Contains(all, "island") {
			t.Errorf("order %s = %s, want it %s, and nothing about an island", id, all, status)
		}
		if id != "dispatched" && rec.Carrier != orderstore.Refused {
			t.Errorf("order %s = %+v, want the carrier's answer %s", id, rec, orderstore.Refused)
		}
	}
}

// TestRefusalsThatCannotReopenAreStillRecorded: the order stays as it is, and its record has
// the refusal.
func TestRefusalsThatCannotReopenAreStillRecorded(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(s *orderstore.Store, a testkit.AWS) error{
		"by hand": func(s *orderstore.Store, _ testkit.AWS) error {
			return s.AddNote(t.Context(), "o", orderstore.Note{Actor: "ann", Action: "resolve"})
		},
		"expired": func(_ *orderstore.Store, a testkit.AWS) error {
			_, err := a.Clients.DynamoDB.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
				TableName: aws.String("reservations"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "o"}},
			})
			return err
		},
		"stock was changed by hand": func(_ *orderstore.Store, a testkit.AWS) error {
			_, err := a.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
				TableName: aws.String("stock"), Key: map[string]types.AttributeValue{"sku": &types.AttributeValueMemberS{Value: "A"}},
				UpdateExpression:          aws.String("SET sold = :none"),
				ExpressionAttributeValues: map[string]types.AttributeValue{":none": &types.AttributeValueMemberN{Value: "0"}},
			})
			return err
		},
		"stock was counted since": func(s *orderstore.Store, _ testkit.AWS) error { // perhaps before the carrier collected it
			l, err := s.GetLevel(t.Context(), "A")
			if err == nil {
				_, err = s.Count(t.Context(), "A", 10, l.Version())
			}
			return err
		},
		"tracked": func(_ *orderstore.Store, a testkit.AWS) error { // a durable-task client had the carrier's word
			_, err := a.Clients.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
				TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "o"}},
				UpdateExpression:          aws.String("SET trackingId = :t"),
				ExpressionAttributeValues: map[string]types.AttributeValue{":t": &types.AttributeValueMemberS{Value: "trk"}},
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := testkit.NewAWS(t, nil)
			a.SetStock(t, map[string]int64{"A": 10})
			completed(t, a.Store, "o")
			if err := leave(a.Store, a); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				rec, reopened, err := a.Store.RecordCarrierAnswer(t.Context(), "o", refusal("o"))
				if err != nil || reopened || rec.Status != order.StatusCompleted || rec.Carrier != orderstore.Refused || rec.RefusedFor() != "island" {
					t.Errorf("order = %+v, reopened = %t, error = %v, want it COMPLETED, refused for island, not reopened", rec, reopened, err)
				}
			}
		})
	}
}

// TestFlagsAreBounded: other systems can send any number of contradictions.
func TestFlagsAreBounded(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil).Store
	accept(t, s, newOrder("o"))
	for i := range 10 { // each twice
		rec, err := s.Get(t.Context(), "o")
		if err = errors.Join(err, s.Flag(t.Context(), rec, "intake", fmt.Sprint("fact ", i/2))); err != nil {
			t.Fatal(err)
		}
	}
	if rec, err := s.Get(t.Context(), "o"); err != nil || len(rec.Notes) != 5 {
		t.Errorf("notes = %+v, error = %v, want 5 of them", rec.Notes, err)
	}
	for i := range 30 {
		rec, err := s.Get(t.Context(), "o")
		if err = errors.Join(err, s.Flag(t.Context(), rec, "intake", fmt.Sprint("more ", i))); err != nil {
			t.Fatal(err)
		}
	}
	if rec, err := s.Get(t.Context(), "o"); err != nil || len(rec.Notes) != 10 {
		t.Errorf("notes = %d, error = %v, want 10", len(rec.Notes), err)
	}
}

// TestCarrierAnswerEndsTheIdleTime: a worker must run the saga that waited for the answer.
func TestCarrierAnswerEndsTheIdleTime(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	requested(t, a.Store, "o")
	if err := a.Store.MarkNeedsAttention(t.Context(), "o", "carrier: no carrier within 1h"); err != nil {
		t.Fatal(err)
	}
	if rec, _, err := a.Store.RecordCarrierAnswer(t.Context(), "o", dispatch("o", "")); err != nil || rec.IdleUntil != "" {
		t.Errorf("order = %+v, error = %v, want it not idle", rec, err)
	}
}

// TestRedactHidesTheAddress: a carrier's reason may quote a label, or a part of it.
func TestRedactHidesTheAddress(t *testing.T) {
	t.Parallel()
	rec := orderstore.Record{
		ShipTo: &order.Address{
			Name:       "Ülkü van Müller",
			Line1:      "Heidestr. 17",
			Line2:      "b",
			City:       "Köln",
			PostalCode: "51147",
			Country:    "DE",
			Phone:      "+49 221 4711",
		},
	}
	for said, want := range map[string]string{
		"nobody at HEIDESTR. 17, 51147 KÖLN": "nobody at (address), (address) (address)",
		"no bell of müller's":                "no bell of (address)'s",
		"Ülkü, Heidestr":                     "(address), (address)",
		"call +49 221 4711 or 221/4711":      "call (address) or (address)",
		"called +492214711 and 0221-47.11":   "called (address) and (address)",
		"called 0049 (0)221 47 11 twice":     "called (address) twice",
		"no 999214711 or shp-1 for 2147.00":  "no 999214711 or shp-1 for 2147.00",
		"the parcel is damaged (b)":          "the parcel is damaged (b)",
		"":                                   "",
	} {
		if got := rec.Redact(said); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
	in := orderstore.Record{ShipTo: &order.Address{Line1: "Ring 12-14", Line2: "mobile 0171 1234567"}}
	if got := in.Redact("+49 171/1234567 is dead, 1214 calls"); got != "(address) is dead, 1214 calls" {
		t.Errorf("redacted = %q, want %q", got, "(address) is dead, 1214 calls")
	}
	if got := (orderstore.Record{}).Redact("island"); got != "island" {
		t.Errorf("redacted for an order without an address = %q, want %q", got, "island")
	}
}
