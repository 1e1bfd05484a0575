package journal_test

import (
	"fmt"
	"os"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// A record is durable when Wait returns. Open replays all records in order.
func Example() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	j, err := journal.Open(dir, journal.Options{}, func([]byte) error { return nil })
	if err != nil {
		panic(err)
	}
	first, second := j.Append([]byte("o-1 is PAID")), j.Append([]byte("o-1 is COMPLETED"))
	fmt.Println(first.Wait(), second.Wait()) // both records share one fsync
	fmt.Println(j.Close())

	j, err = journal.Open(dir, journal.Options{}, func(record []byte) error {
		fmt.Println(string(record))
		return nil
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(j.Close())
	// Output:
	// <nil> <nil>
	// <nil>
	// o-1 is PAID
	// o-1 is COMPLETED
	// <nil>
}
