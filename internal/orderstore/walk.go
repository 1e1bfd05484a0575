package orderstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Walk calls f with all orders in the statuses, up to limit at a time, in no particular
// order. It reads each order once, whereas pages of List read all shards of the index and
// drop all but the newest. f may modify its page. Walk is eventually consistent and
// returns the first error of f.
func (s *Store) Walk(ctx context.Context, statuses []order.Status, limit int, f func([]Record) error) error {
	return s.WalkSince(ctx, time.Time{}, statuses, limit, f)
}

// WalkSince is Walk for orders that were accepted at since or later. It does not read
// older ones.
func (s *Store) WalkSince(ctx context.Context, since time.Time, statuses []order.Status, limit int, f func([]Record) error) error {
	for _, st := range statuses {
		for _, shard := range StatusKeys(st) {
			key := indexKey{index: StatusIndex, attribute: "statusShard", value: shard}
			for q := (Query{Statuses: statuses, Since: since, Limit: limit}); ; { // an order edited by hand may be under another status
				page, err := s.queryIndex(ctx, key, q)
				if err != nil {
					return fmt.Errorf("walk orders that are %s: %w", st, err)
				}
				last := len(page) < limit
				if !last {
					q.Cursor = page[limit-1].Placed // before f changes it
				}
				if err := f(page); err != nil {
					return err
				}
				if last {
					break
				}
			}
		}
	}
	return nil
}

// Scan returns a page of up to limit orders of the table after cursor, in no order. An
// empty next means that it is the last page. Unlike List it also finds orders that the
// indexes lack.
func (s *Store) Scan(ctx context.Context, cursor string, limit int) (records []Record, next string, err error) {
	items, next, err := s.scan(ctx, s.tables.Orders, "orderId", cursor, limit)
	if err != nil {
		return nil, "", err
	}
	for _, i := range items {
		r, err := decodeRecord(i)
		if err != nil {
			return nil, "", err
		}
		if !strings.HasPrefix(r.OrderID, "#") { // items of workers and the like; see probeItem
			records = append(records, r)
		}
	}
	return records, next, nil
}
