// Package paging iterates over lists that other services return page by page. It does
// not trust them to end a list.
package paging

import (
	"errors"
	"fmt"
	"hash/maphash"
	"iter"

	"github.com/ordersaga/ordersaga/internal/text"
)

// ErrRepeats is the error of a list that goes round and would never end.
var ErrRepeats = errors.New("repeats itself")

// Pages returns the pages of a list in order. It calls read with the cursor "" first,
// then with each next that read returns, until that is "". An error of read is the last
// element of the sequence.
//
// A list that goes round ends with ErrRepeats: when read returns a cursor that it had
// returned before, or when an item comes back again and again behind new cursors, which
// is noticed within three rounds. what names the list in that error. id returns the name
// of an item; "" is an item without one, and a nil id is a list of such items. The number
// of pages is not limited; the memory needed is eight bytes for each.
func Pages[T any](what string, read func(cursor string) (page []T, next string, err error), id func(T) string) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		seed := maphash.MakeSeed()
		asked := map[uint64]bool{}
		// Brent's algorithm: in a list that goes round, an item that is kept for long
		// enough comes back. The items at positions 1, 2, 4, 8 … are kept.
		kept, items, until := "", 0, 1
		for cursor := ""; ; {
			asked[maphash.String(seed, cursor)] = true
			page, next, err := read(cursor)
			if err == nil && next != "" && asked[maphash.String(seed, next)] {
				err = fmt.Errorf("%s %w: it continues at %q, where it was before", what, ErrRepeats, text.Cut(next, 100))
			}
			for _, item := range page {
				if id == nil || err != nil || id(item) == "" {
					continue
				}
				if id(item) == kept {
					err = fmt.Errorf("%s %w: %q comes again", what, ErrRepeats, text.Cut(kept, 100))
				}
				items++
				if items == until {
					kept, until = id(item), 2*until
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(page, nil) || next == "" {
				return
			}
			cursor = next
		}
	}
}
