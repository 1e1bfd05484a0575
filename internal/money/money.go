// Package money knows currencies: which there are, how many decimals each has,
// and how an amount of one is read and written. Amounts are in minor units: the
// smallest that ISO 4217 has for the currency, which is a cent for EUR, a yen for
// JPY, and a thousandth of a dinar for KWD.
//
// The table is that of github.com/bojanz/currency, made from ISO 4217's own
// list. The one of golang.org/x/text/currency is CLDR's, of 2017: it lacks
// currencies that were introduced since, and its digits are those of cash in
// everyday use (0 for IDR or COP, which have 2 in ISO 4217).
package money

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/bojanz/currency"
)

// Known reports whether code is an active currency of ISO 4217, in capitals.
func Known(code string) bool { return code != "" && currency.IsValid(code) }

// Digits is how many decimals a currency has; false if it is not known.
func Digits(code string) (int, bool) {
	n, ok := currency.GetDigits(code)
	return int(n), ok
}

var decimal = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,18})?$`)

var errNotDecimal = errors.New("is not a decimal number such as 19.99")

// Parse reads a decimal number of whole units, such as "19.99", as minor units
// of a currency. Digits that the currency does not have must be zeros.
func Parse(number, code string) (minor int64, err error) {
	if !decimal.MatchString(number) {
		return 0, fmt.Errorf("%.40q %w", number, errNotDecimal)
	}
	a, err := currency.NewAmount(number, code)
	if err != nil {
		return 0, fmt.Errorf("currency %.10q is not one of ISO 4217", code)
	}
	if !a.Equal(a.Round()) {
		digits, _ := Digits(code)
		return 0, fmt.Errorf("%s has more decimals than %s, which has %d", number, code, digits)
	}
	if minor, err = a.Int64(); err != nil {
		return 0, fmt.Errorf("%s %s is too large", number, code)
	}
	return minor, nil
}

// Format writes an amount with its currency's decimals and code, such as
// "1,234.50 EUR", "1,235 JPY", "1.234 KWD". The same everywhere: an operator
// compares amounts in currencies of many countries. Of a currency that is not
// known it writes what it has: "1234 minor units of ABC".
func Format(minor int64, code string) string {
	a, err := currency.NewAmountFromInt64(minor, code)
	if err != nil {
		return strconv.FormatInt(minor, 10) + " minor units of " + strconv.Quote(code)
	}
	f := currency.NewFormatter(currency.NewLocale("en"))
	f.CurrencyDisplay = currency.DisplayNone
	return f.Format(a) + " " + code
}
