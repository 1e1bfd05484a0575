package orderstore

import (
	"cmp"
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// RequestCancel records that the order is to be cancelled, by whom and why:
// from here on it does not ship. ErrFinished if its shipment was requested, or
// it has ended, or needs attention, or is not approved: it is being cancelled
// then.
func (s *Store) RequestCancel(ctx context.Context, orderID string, n Note) error {
	err := s.decide(ctx, orderID, order.CancelRequested, "cancelRequested", &types.AttributeValueMemberBOOL{Value: true}, n,
		"(attribute_not_exists(decision) OR decision = :approved)", map[string]types.AttributeValue{":approved": str(string(Approved))})
	return wrap(err, "cancel order %s", orderID)
}

// CancelledBy is what the note says with which cancel was requested.
func (r Record) CancelledBy() (by, why string) {
	n := r.note(NoteCancel)
	return strings.TrimPrefix(n.Actor, Anonymous), n.Text
}

// CancelledFor is on whose behalf cancel was requested.
func (r Record) CancelledFor() OnBehalf { return cmp.Or(r.note(NoteCancel).For, Shop) }
