package money_test

import (
	"fmt"

	"github.com/ordersaga/ordersaga/internal/money"
)

// Amounts are whole numbers of the currency's smallest unit.
func ExampleFormat() {
	fmt.Println(money.Format(1999, "EUR"))
	fmt.Println(money.Format(1999, "JPY"))
	fmt.Println(money.Format(1999, "KWD"))
	// Output:
	// 19.99 EUR
	// 1,999 JPY
	// 1.999 KWD
}

func ExampleParse() {
	minor, err := money.Parse("19.99", "EUR")
	fmt.Println(minor, err)
	_, err = money.Parse("19.99", "JPY")
	fmt.Println(err != nil)
	// Output:
	// 1999 <nil>
	// true
}

// A limit for each currency; * is the limit of all others.
func ExampleLimits() {
	limits := money.MustLimits("EUR=1000.00,*=2000")
	fmt.Println(limits.In("EUR"))
	fmt.Println(limits.In("JPY"))
	// Output:
	// 100000 true
	// 2000 true
}
