package paging_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/paging"
)

func name(s string) string { return s }

// TestPagesArriveInOrder: all pages of a list in order, until read ends it or fails.
func TestPagesArriveInOrder(t *testing.T) {
	t.Parallel()
	const pages = 1000
	gone := errors.New("gone")
	for _, fails := range []bool{false, true} {
		var got []string
		var err error
		for page, e := range paging.Pages("the list", func(cursor string) ([]string, string, error) {
			n, _ := strconv.Atoi(cursor)
			switch {
			case n < pages:
				return []string{fmt.Sprint("a", n), "", fmt.Sprint("b", n)}, strconv.Itoa(n + 1), nil
			case fails:
				return nil, "", gone
			}
			return []string{"last"}, "", nil
		}, name) {
			got, err = append(got, page...), e
		}
		if fails != errors.Is(err, gone) {
			t.Errorf("with a last page that fails: %v, the error is %v", fails, err)
		}
		inOrder := slices.IsSorted([]int{slices.Index(got, "a1"), slices.Index(got, "b1"), slices.Index(got, "a2")})
		if !fails && (len(got) != 3*pages+1 || !inOrder) {
			t.Errorf("got %d items, in order: %v, want %d in order", len(got), inOrder, 3*pages+1)
		}
	}
}

// TestListThatGoesRoundEnds: with the same cursors, or with the same items behind new
// ones.
func TestListThatGoesRoundEnds(t *testing.T) {
	t.Parallel()
	alternate := map[string]string{"": "a", "a": "b", "b": "a"}
	self := map[string]string{"": "a", "a": "a"}
	for what, read := range map[string]func(n int, cursor string) (string, string){
		"two cursors":    func(n int, cursor string) (string, string) { return strconv.Itoa(n), alternate[cursor] },
		"one cursor":     func(n int, cursor string) (string, string) { return strconv.Itoa(n), self[cursor] },
		"one item":       func(n int, _ string) (string, string) { return "same", strconv.Itoa(n) },
		"seven items":    func(n int, _ string) (string, string) { return strconv.Itoa(n % 7), strconv.Itoa(n) },
		"after a prefix": func(n int, _ string) (string, string) { return strconv.Itoa(max(n, 100) % 130), strconv.Itoa(n) },
	} {
		n := 0
		var err error
		for _, err = range paging.Pages("the list", func(cursor string) ([]string, string, error) {
			n++
			if n > 1000 {
				t.Fatalf("%s: still reading after 1,000 pages, want an error", what)
			}
			item, next := read(n, cursor)
			return []string{item}, next, nil
		}, name) {
		}
		if !errors.Is(err, paging.ErrRepeats) || !strings.HasPrefix(err.Error(), "the list repeats itself: ") {
			t.Errorf("%s: error = %v, want ErrRepeats with the list's name", what, err)
		}
	}
}
