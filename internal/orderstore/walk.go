package orderstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
)

// Walk gives f all orders in some statuses, up to limit at a time, in no order
// that means anything: pages of List are read from all of the index's shards
// and thrown away but for the newest, and here each is read once. Pages are f's
// to change. It is eventually consistent.
func (s *Store) Walk(ctx context.Context, statuses []order.Status, limit int, f func([]Record) error) error {
	return s.WalkSince(ctx, time.Time{}, statuses, limit, f)
}

// WalkSince is Walk for orders that were accepted at a time or later: others are
// not read.
func (s *Store) WalkSince(ctx context.Context, since time.Time, statuses []order.Status, limit int, f func([]Record) error) error {
	for _, st := range statuses {
		for _, shard := range StatusKeys(st) {
			key := indexKey{StatusIndex, "statusShard", shard}
			for q := (Query{Statuses: statuses, Since: since, Limit: limit}); ; { // one edited by hand may be under another status
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

// Scan pages through all orders as the table has them, in no order; an empty
// next ends. It finds those, too, that have fallen out of the indexes.
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
		if !strings.HasPrefix(r.OrderID, "#") { // workers, and what is like them
			records = append(records, r)
		}
	}
	return records, next, nil
}
