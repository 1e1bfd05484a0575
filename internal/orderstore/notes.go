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

// Note is what an operator did and why.
type Note struct {
	At     string `dynamodbav:"at" json:"at"`
	Actor  string `dynamodbav:"actor" json:"actor"`
	Action string `dynamodbav:"action" json:"action"`
	Text   string `dynamodbav:"text" json:"text,omitempty"`
	// Subject is the issuer's name for the actor, which never changes; "" for who
	// did not have to say.
	Subject string `dynamodbav:"subject,omitempty" json:"subject,omitempty"`
	// For is on whose behalf a cancel was requested; "" is Shop.
	For OnBehalf `dynamodbav:"for,omitempty" json:"for,omitempty"`
}

// OnBehalf is for whom an order is cancelled.
type OnBehalf string

// For whom.
const (
	Customer OnBehalf = "customer"
	Shop     OnBehalf = "shop"
)

// NoteCancel is the action of the note of RequestCancel, NoteApprove, NoteReject
// and NoteExpire are those of the notes of Decide, noteRefused that of the note
// of a refusal, and noteFlagged that of Flag.
const (
	NoteCancel  = "cancel"
	NoteApprove = "approve"
	NoteReject  = "reject"
	NoteExpire  = "expire"
	noteRefused = "refuse"
	noteFlagged = "flagged"
)

// Anonymous is the actor of a note of which nobody said whose it is.
const Anonymous = "anonymous"

// note is the first of one of the actions.
func (r Record) note(actions ...string) Note {
	for _, n := range r.Notes {
		if slices.Contains(actions, n.Action) {
			return n
		}
	}
	return Note{}
}

// An order's audit trail is bounded, for its item must stay below DynamoDB's
// 400 KB beside an order of 256 KB: a carrier that changes its mind for ever, or
// an operator's script, would fill it. Of more than maxNotes the first and the
// last are kept, and of those in between the last one of each decision.
const (
	maxNotes   = 28 // with text.Max characters of four bytes each: 120 KB
	firstNotes = 8
	lastNotes  = 9 // with one note of each decision and one for those left out there is room
)

// noteLeftOut is the action of the note that stands for those that were, and
// leftOut its text.
const (
	noteLeftOut = "left out"
	leftOut     = "%d notes are left out here: an order keeps its first and its latest ones"
)

var noNotes = &types.AttributeValueMemberL{Value: []types.AttributeValue{}}

// encodeNotes cuts what people and others wrote in them.
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

// appendNote adds a note to what an update sets.
func appendNote(u *types.Update, n Note) error {
	note, err := encodeNotes(n)
	if err != nil {
		return err
	}
	*u.UpdateExpression = "SET notes = list_append(if_not_exists(notes, :none), :note), " + strings.TrimPrefix(*u.UpdateExpression, "SET ")
	u.ExpressionAttributeValues[":none"], u.ExpressionAttributeValues[":note"] = noNotes, note
	return nil
}

// AddNote appends to the order's audit trail. Its text is cut to text.Max. When
// the trail is full it is thinned out first.
func (s *Store) AddNote(ctx context.Context, orderID string, n Note) error {
	n.At = s.stamp()
	note, err := encodeNotes(n)
	if err != nil {
		return err
	}
	err = s.withRoom(ctx, orderID, func() error {
		return s.update(ctx, &types.Update{
			TableName: &s.tables.Orders, Key: map[string]types.AttributeValue{"orderId": str(orderID)},
			UpdateExpression:    aws.String("SET notes = list_append(if_not_exists(notes, :none), :note), updatedAt = :at"),
			ConditionExpression: aws.String("attribute_exists(orderId) AND " + roomForNote),
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":note": note, ":none": noNotes, ":at": str(n.At), ":most": num(maxNotes),
			},
		})
	})
	return wrap(err, "add a note to order %s", orderID)
}

// roomForNote is the condition of an update that adds a note; :most is maxNotes.
const roomForNote = "(attribute_not_exists(notes) OR size(notes) < :most)"

// withRoom calls add, which returns ErrFinished if there is no room for a note
// or no order, and makes room. The error is ErrNotFound without an order.
func (s *Store) withRoom(ctx context.Context, orderID string, add func() error) error {
	for range 10 {
		err := add()
		if !errors.Is(err, ErrFinished) {
			return err
		}
		if err := s.thinNotes(ctx, orderID); err != nil {
			return err
		}
	}
	return errors.New("its notes change all the time; try again")
}

// thinNotes makes room for more notes, if there is none.
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
		ConditionExpression: aws.String("size(notes) = :n AND updatedAt = :at"), // nobody has added one
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":kept": kept, ":n": num(int64(len(rec.Notes))), ":at": str(rec.Updated),
		},
	})
	if errors.Is(err, ErrFinished) {
		return nil // somebody has changed them; look again
	}
	return err
}

// thinned is what is kept of notes that are too many.
func thinned(notes []Note) []Note {
	kept, middle := slices.Clone(notes[:firstNotes]), notes[firstNotes:len(notes)-lastNotes]
	left := 0
	for i, n := range middle {
		var before int
		later := slices.ContainsFunc(middle[i+1:], func(m Note) bool { return m.Action == n.Action })
		switch {
		case n.Action == noteLeftOut:
			_, _ = fmt.Sscanf(n.Text, leftOut, &before) // our own
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

// decides are the actions of notes that are read again: see RefusedFor,
// CancelledBy, DecidedBy, ResolvedBy and ManuallyResolved.
var decides = map[string]bool{
	NoteCancel: true, NoteApprove: true, NoteReject: true, NoteExpire: true, noteRefused: true,
	"retry": true, "skip": true, "resolve": true, "compensate": true,
}
