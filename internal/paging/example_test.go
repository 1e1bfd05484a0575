package paging_test

import (
	"fmt"

	"github.com/ordersaga/ordersaga/internal/paging"
)

func ExamplePages() {
	pages := map[string][]string{"": {"o-1", "o-2"}, "2": {"o-3"}}
	read := func(cursor string) (page []string, next string, err error) {
		if cursor == "" {
			next = "2"
		}
		return pages[cursor], next, nil
	}
	for page, err := range paging.Pages("the list of orders", read, nil) {
		fmt.Println(page, err)
	}
	// Output:
	// [o-1 o-2] <nil>
	// [o-3] <nil>
}

// A list whose cursor does not change would never end.
func ExamplePages_repeats() {
	read := func(string) (page []string, next string, err error) { return []string{"o-1"}, "same", nil }
	for page, err := range paging.Pages("the list of orders", read, nil) {
		fmt.Println(page, err != nil)
	}
	// Output:
	// [o-1] false
	// [] true
}
