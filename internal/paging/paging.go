// Package paging reads lists that come in pages, and does not trust the other
// side to end them.
package paging

import (
	"errors"
	"fmt"
	"hash/maphash"
	"iter"

	"github.com/ordersaga/ordersaga/internal/text"
)

// ErrRepeats says that a list goes round and would never end.
var ErrRepeats = errors.New("repeats itself")

// Pages reads a list page by page, from the cursor "" on, until read says that
// "" is next. An error ends it. A cursor that was there before is ErrRepeats, and
// so is an item that comes back again and again behind new cursors, within three
// rounds. what is the list's name in that error. id names an item; "" is one
// without a name, and a nil id names none. There may be any number of pages: eight
// bytes are remembered of each.
func Pages[T any](what string, read func(cursor string) (page []T, next string, err error), id func(T) string) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		seed := maphash.MakeSeed()
		asked := map[uint64]bool{}
		// Brent's algorithm: of a list that goes round, one item that is kept for
		// long enough comes back. Kept are those at 1, 2, 4, 8 …
		kept, items, until := "", 0, 1
		for cursor := ""; ; {
			asked[maphash.String(seed, cursor)] = true
			page, next, err := read(cursor)
			if err == nil && next != "" && asked[maphash.String(seed, next)] {
				err = fmt.Errorf("%s %w: it goes on at %q, where it was before", what, ErrRepeats, text.Cut(next, 100))
			}
			for _, item := range page {
				if id == nil || err != nil || id(item) == "" {
					continue
				}
				if id(item) == kept {
					err = fmt.Errorf("%s %w: %q comes again", what, ErrRepeats, text.Cut(kept, 100))
				}
				if items++; items == until {
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
