package orderstore

import (
	"cmp"
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

// RequestCancel records that the order is to be cancelled; n has by whom and why. From
// then on it does not ship. The error is ErrFinished if its shipment was requested, it
// has ended, it needs attention, or its approval was rejected or has expired, which
// cancels it anyway.
func (s *Store) RequestCancel(ctx context.Context, orderID string, n Note) error {
	err := s.recordOnce(ctx, orderID, order.CancelRequested, "cancelRequested", &types.AttributeValueMemberBOOL{Value: true}, n,
		"(attribute_not_exists(decision) OR decision = :approved)", map[string]types.AttributeValue{":approved": str(string(Approved))})
	return wrap(err, "cancel order %s", orderID)
}

// CancelledBy returns the author and the text of the cancellation's note; by is "" if
// anonymous.
func (r Record) CancelledBy() (by, why string) {
	n := r.note(NoteCancel)
	return strings.TrimPrefix(n.Actor, Anonymous), n.Text
}

// CancelledFor returns on whose behalf cancellation was requested.
func (r Record) CancelledFor() OnBehalf { return cmp.Or(r.note(NoteCancel).For, Shop) }
