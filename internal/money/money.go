// Package money parses and formats amounts of money, and limits of them. Amounts are
// in minor units, the smallest that ISO 4217 defines for the currency: a cent for EUR,
// a yen for JPY, a thousandth of a dinar for KWD.
//
// The table of currencies is that of github.com/bojanz/currency, generated from the
// list of ISO 4217 itself. golang.org/x/text/currency is no alternative: its table is
// CLDR's of 2017. It lacks newer currencies, and its decimals are those of cash in
// everyday use (0 for IDR and COP, which have 2 in ISO 4217).
package money

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/bojanz/currency"
)

// Known reports whether code is an active currency of ISO 4217, in upper case.
func Known(code string) bool { return code != "" && currency.IsValid(code) }

// Digits returns the number of decimals of a currency, and false if it is not known.
func Digits(code string) (int, bool) {
	n, ok := currency.GetDigits(code)
	return int(n), ok
}

var decimal = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,18})?$`)

var errNotDecimal = errors.New("is not a decimal number such as 19.99")

// Parse converts a decimal number of whole units, such as "19.99", to minor units of a
// currency. It returns an error for an unknown currency, for an amount beyond int64,
// and for decimals that the currency does not have, unless they are zeros.
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
	minor, err = a.Int64()
	if err != nil {
		return 0, fmt.Errorf("%s %s is too large", number, code)
	}
	return minor, nil
}

// Format returns an amount with its currency's decimals and code, such as
// "1,234.50 EUR", "1,235 JPY" or "1.234 KWD". It does not depend on a locale: operators
// compare amounts in currencies of many countries. For an unknown currency it returns,
// for example, `1234 minor units of "ABC"`.
func Format(minor int64, code string) string {
	a, err := currency.NewAmountFromInt64(minor, code)
	if err != nil {
		return strconv.FormatInt(minor, 10) + " minor units of " + strconv.Quote(code)
	}
	f := currency.NewFormatter(currency.NewLocale("en"))
	f.CurrencyDisplay = currency.DisplayNone
	return f.Format(a) + " " + code
}
