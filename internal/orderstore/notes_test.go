package orderstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/text"
)

// TestLongReasonsAndNotesAreCut: the order continues with the shortened text.
func TestLongReasonsAndNotesAreCut(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	s := a.Store
	long := strings.Repeat("\U0001F4E6\xff\x00", 80_000) // 480 KB
	o := accept(t, s, newOrder("o"))
	_, err := s.ReserveForApproval(t.Context(), o, 0)
	err = errors.Join(err,
		s.Decide(t.Context(), "o", orderstore.Approved, orderstore.Note{Actor: "ann", Action: "approve", Text: long}),
		s.RequestCancel(t.Context(), "o", orderstore.Note{Actor: long, Action: orderstore.NoteCancel, Text: long, Subject: long}),
		s.AddNote(t.Context(), "o", orderstore.Note{Actor: "ann", Action: "say", Text: long}),
		s.MarkNeedsAttention(t.Context(), "o", long),
	)
	if err != nil {
		t.Fatal(err)
	}
	requested(t, s, "refused")
	requested(t, s, "sent")
	refusal, dispatch := refusal("refused"), dispatch("sent", long)
	refusal.Reason = long
	refused, _, err1 := s.RecordCarrierAnswer(t.Context(), "refused", refusal)
	sent, _, err2 := s.RecordCarrierAnswer(t.Context(), "sent", dispatch)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(t.Context(), "o", order.StatusDeclined, long); err != nil {
		t.Fatal(err)
	}
	rec := wantStatus(t, s, "o", order.StatusDeclined)
	wantLevel(t, s, "A", 6, 4, 0)
	texts := append([]string{rec.Reason, refused.RefusedFor(), sent.TrackingID}, sent.TrackingIDs...)
	for _, n := range rec.Notes {
		texts = append(texts, n.Actor, n.Text, n.Subject)
	}
	for _, said := range texts {
		if utf8.RuneCountInString(said) > text.Max || !utf8.ValidString(said) || strings.Contains(said, "\x00") {
			t.Errorf("kept %d characters, want at most %d, in UTF-8 and without NUL: %.40q", utf8.RuneCountInString(said), text.Max, said)
		}
	}
}

// TestNotesAreBounded: however many notes are added, the order's item stays small and keeps
// its decisions.
func TestNotesAreBounded(t *testing.T) {
	t.Parallel()
	s := testkit.NewAWS(t, nil).Store
	accept(t, s, newOrder("o"))
	if err := s.AddNote(t.Context(), "nobody", orderstore.Note{}); !errors.Is(err, orderstore.ErrNotFound) {
		t.Errorf("a note of no order: error = %v, want %v", err, orderstore.ErrNotFound)
	}
	long := strings.Repeat("\U0001F4E6", text.Max)
	add := func(n int, action string) {
		t.Helper()
		if err := s.AddNote(t.Context(), "o", orderstore.Note{Actor: "ann", Action: action, Text: fmt.Sprint(n, " ", long)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 12 {
		add(n, "retry")
	}
	add(12, "skip")
	if err := s.RequestCancel(t.Context(), "o", orderstore.Note{Actor: "bob", Action: orderstore.NoteCancel, Text: "too late"}); err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		if n%2 == 0 {
			add(100+n, "retry")
		}
		if n%2 == 0 { // as the carrier's refusals are noted
			if err := s.AddNote(t.Context(), "o", orderstore.Note{Actor: "carrier", Action: "refuse", Text: fmt.Sprint("island ", n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(200, "retry")
	rec, err := s.Get(t.Context(), "o")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(rec.Notes)
	if err != nil || len(rec.Notes) > 28 || len(b) > 130_000 {
		t.Errorf("notes = %d, bytes = %d, error = %v, want at most 28 notes and 130000 bytes", len(rec.Notes), len(b), err)
	}
	by, why := rec.CancelledBy()
	if !rec.ManuallyResolved() || by != "bob" || why != "too late" || rec.RefusedFor() != "island 58" {
		t.Errorf("resolved by hand = %v, cancelled by %q (%q), refused for %q, want true, bob (too late), island 58",
			rec.ManuallyResolved(), by, why, rec.RefusedFor())
	}
	if first, last := rec.Notes[0].Text, rec.Notes[len(rec.Notes)-1].Text; !strings.HasPrefix(first, "0 ") ||
		!strings.HasPrefix(last, "200 ") {
		t.Errorf("first note = %.10q, last note = %.10q, want them to begin with %q and %q", first, last, "0 ", "200 ")
	}
	left, kept := 0, 0
	for _, n := range rec.Notes {
		if n.Action == "left out" {
			if _, err := fmt.Sscanf(n.Text, "%d notes", &left); err != nil {
				t.Errorf("text of the note = %q (%v), want the number of notes that were left out", n.Text, err)
			}
			continue
		}
		kept++
	}
	if all := 12 + 1 + 1 + 30 + 30 + 1; left+kept != all {
		t.Errorf("notes left out = %d, kept = %d, want %d together", left, kept, all)
	}
}

// TestThinnedNotesKeepDecisions: the notes about the approval and about the resolution stay.
func TestThinnedNotesKeepDecisions(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	s := a.Store
	for action, d := range map[string]orderstore.Decision{
		orderstore.NoteApprove: orderstore.Approved,
		orderstore.NoteReject:  orderstore.Rejected, orderstore.NoteExpire: orderstore.Expired,
	} {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: error = %v, want none", action, err)
			}
		}
		say := func(n int) {
			t.Helper()
			for range n {
				must(s.AddNote(t.Context(), action, orderstore.Note{Actor: "eve", Action: "say"}))
			}
		}
		_, err := s.ReserveForApproval(t.Context(), accept(t, s, newOrder(action)), 0)
		must(err)
		say(10)
		must(s.Decide(t.Context(), action, d, orderstore.Note{Actor: "ann", Action: action, Text: "why"}))
		must(s.MarkNeedsAttention(t.Context(), action, "stuck"))
		must(s.Resolve(t.Context(), action, "reserve", "retry", orderstore.Note{Actor: "bob", Action: "retry", Text: "up again"}))
		say(60)
		rec, err := s.Get(t.Context(), action)
		must(err)
		by, why := rec.DecidedBy()
		bob, again := rec.ResolvedBy()
		if by != "ann" || why != "why" || bob != "bob" || again != "up again" || rec.Decided() == "" {
			t.Errorf("%s: decided by %q (%q): %q, resolved by %q (%q), want ann (why) with a description, and bob (up again); notes: %+v",
				action, by, why, rec.Decided(), bob, again, rec.Notes)
		}
	}
}

// TestRefusedTransactionNamesTheItem: the transaction is not retried, and the error names the
// item.
func TestRefusedTransactionNamesTheItem(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	a.SetStock(t, map[string]int64{"A": 10})
	o := accept(t, a.Store, newOrder("o"))
	if _, err := a.Store.Reserve(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	table := orderstore.TablesWithPrefix("").Stock
	_, err := a.Clients.DynamoDB.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: map[string]types.AttributeValue{
		"sku": &types.AttributeValueMemberS{Value: "A"}, "available": &types.AttributeValueMemberS{Value: "eight"},
		"reserved": &types.AttributeValueMemberN{Value: "2"}, "sold": &types.AttributeValueMemberN{Value: "0"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	before := a.Clients.Calls()
	err = a.Store.Release(t.Context(), "o", order.StatusFailed, "why")
	if err == nil || !strings.Contains(err.Error(), "stock sku A") || !strings.Contains(err.Error(), "ValidationError") {
		t.Errorf("error = %v, want a ValidationError about stock sku A", err)
	}
	if n := a.Clients.Calls() - before; n != 2 { // the reservation is read, and then one try
		t.Errorf("requests = %d, want 2", n)
	}
	wantStatus(t, a.Store, "o", order.StatusReserved)
}
