package orderstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/text"
)

// Note is an entry of an order's audit trail: what an operator, a customer or the system
// did, and why.
type Note struct {
	At     string `dynamodbav:"at" json:"at"`
	Actor  string `dynamodbav:"actor" json:"actor"`
	Action string `dynamodbav:"action" json:"action"`
	Text   string `dynamodbav:"text" json:"text,omitempty"`
	// Subject is the issuer's identifier of the actor, which never changes; "" if the
	// actor did not sign in.
	Subject string `dynamodbav:"subject,omitempty" json:"subject,omitempty"`
	// For is on whose behalf a cancel was requested; "" is Shop.
	For OnBehalf `dynamodbav:"for,omitempty" json:"for,omitempty"`
}

// OnBehalf is on whose behalf an order is cancelled.
type OnBehalf string

// Parties on whose behalf an order is cancelled.
const (
	Customer OnBehalf = "customer"
	Shop     OnBehalf = "shop"
)

// Actions of notes: NoteCancel of RequestCancel; NoteApprove, NoteReject and NoteExpire of
// Decide; noteRefused of a refusal by the carrier; noteFlagged of Flag.
const (
	NoteCancel  = "cancel"
	NoteApprove = "approve"
	NoteReject  = "reject"
	NoteExpire  = "expire"
	noteRefused = "refuse"
	noteFlagged = "flagged"
)

// Anonymous is the actor of a note whose author did not sign in.
const Anonymous = "anonymous"

// note returns the first note with one of the actions.
func (r Record) note(actions ...string) Note {
	for _, n := range r.Notes {
		if slices.Contains(actions, n.Action) {
			return n
		}
	}
	return Note{}
}

// Limits of an order's audit trail. Its item must stay below DynamoDB's 400 KB beside an
// order of 256 KB: a carrier that keeps changing its answer, or an operator's script,
// would fill it. Of more than maxNotes the first and the last are kept, and of those in
// between the last one of each decision.
const (
	maxNotes   = 28 // with text.Max characters of four bytes each: 120 KB
	firstNotes = 8
	lastNotes  = 9 // leaves space for one note of each decision and one for those left out
)

// noteLeftOut is the action of the note that replaces dropped ones, and leftOut its text.
const (
	noteLeftOut = "left out"
	leftOut     = "%d notes are left out here: an order keeps its first and its latest ones"
)

var noNotes = &types.AttributeValueMemberL{Value: []types.AttributeValue{}}

// encodeNotes encodes notes, and cuts what people and other systems wrote in them.
func encodeNotes(notes ...Note) (*types.AttributeValueMemberL, error) {
	list := &types.AttributeValueMemberL{Value: make([]types.AttributeValue, len(notes))}
	for i, n := range notes {
		n.Text = text.Cut(n.Text, text.Max)
		n.Actor, n.Action, n.Subject = text.Cut(n.Actor, text.MaxID), text.Cut(n.Action, text.MaxID), text.Cut(n.Subject, text.MaxID)
		item, err := attributevalue.MarshalMap(n)
		if err != nil {
			return nil, fmt.Errorf("encode note: %w", err)
		}
		list.Value[i] = &types.AttributeValueMemberM{Value: item}
	}
	return list, nil
}

// appendNote makes an update add a note.
func appendNote(u *types.Update, n Note) error {
	note, err := encodeNotes(n)
	if err != nil {
		return err
	}
	*u.UpdateExpression = "SET notes = list_append(if_not_exists(notes, :none), :note), " + strings.TrimPrefix(*u.UpdateExpression, "SET ")
	u.ExpressionAttributeValues[":none"], u.ExpressionAttributeValues[":note"] = noNotes, note
	return nil
}

// AddNote appends a note to the order's audit trail and sets its time. The text is cut to
// text.Max. A full trail is thinned out first. The error is ErrNotFound without such an
// order.
func (s *Store) AddNote(ctx context.Context, orderID string, n Note) error {
	n.At = s.stamp()
	note, err := encodeNotes(n)
	if err != nil {
		return err
	}
	err = s.withSpaceForNote(ctx, orderID, func() error {
		return s.update(ctx, &types.Update{
			TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
			UpdateExpression:    aws.String("SET notes = list_append(if_not_exists(notes, :none), :note), updatedAt = :at"),
			ConditionExpression: aws.String("attribute_exists(orderId) AND " + hasSpaceForNote),
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":note": note, ":none": noNotes, ":at": str(n.At), ":most": num(maxNotes),
			},
		})
	})
	return wrap(err, "add a note to order %s", orderID)
}

// hasSpaceForNote is the condition of an update that adds a note; :most is maxNotes.
const hasSpaceForNote = "(attribute_not_exists(notes) OR size(notes) < :most)"

// withSpaceForNote calls add. If add returns ErrFinished, which means that there is no
// space for a note or no such order, it makes space and retries. The error is ErrNotFound
// without such an order.
func (s *Store) withSpaceForNote(ctx context.Context, orderID string, add func() error) error {
	for range 10 {
		err := add()
		if !errors.Is(err, ErrFinished) {
			return err
		}
		if err := s.thinNotes(ctx, orderID); err != nil {
			return err
		}
	}
	return errors.New("other calls keep changing its notes; retry later")
}

// thinNotes makes space for more notes if there is none.
func (s *Store) thinNotes(ctx context.Context, orderID string) error {
	rec, err := s.Get(ctx, orderID)
	if err != nil || len(rec.Notes) < maxNotes {
		return err
	}
	kept, err := encodeNotes(thinned(rec.Notes)...)
	if err != nil {
		return err
	}
	err = s.update(ctx, &types.Update{
		TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
		UpdateExpression:    aws.String("SET notes = :kept"),
		ConditionExpression: aws.String("size(notes) = :n AND updatedAt = :at"), // no other call has added one
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":kept": kept, ":n": num(int64(len(rec.Notes))), ":at": str(rec.Updated),
		},
	})
	if errors.Is(err, ErrFinished) {
		return nil // another call has changed them; look again
	}
	return err
}

// thinned returns the notes to keep of a full trail.
func thinned(notes []Note) []Note {
	kept, middle := slices.Clone(notes[:firstNotes]), notes[firstNotes:len(notes)-lastNotes]
	left := 0
	for i, n := range middle {
		var before int
		later := slices.ContainsFunc(middle[i+1:], func(m Note) bool { return m.Action == n.Action })
		switch {
		case n.Action == noteLeftOut:
			_, _ = fmt.Sscanf(n.Text, leftOut, &before) // written below
			left += before
		case decides[n.Action] && !later:
			kept = append(kept, n)
		default:
			left++
		}
	}
	kept = append(kept, Note{At: middle[len(middle)-1].At, Actor: "ordersaga", Action: noteLeftOut, Text: fmt.Sprintf(leftOut, left)})
	return append(kept, notes[len(notes)-lastNotes:]...)
}

// decides has the actions of notes that are read again: see RefusedFor, CancelledBy,
// DecidedBy, ResolvedBy and ManuallyResolved.
var decides = map[string]bool{
	NoteCancel: true, NoteApprove: true, NoteReject: true, NoteExpire: true, noteRefused: true,
	"retry": true, "skip": true, "resolve": true, "compensate": true,
}
