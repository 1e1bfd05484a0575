package money

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bojanz/currency"
)

// rest stands for all currencies that are not named.
const rest = "*"

// Limits is a limit for each currency. The zero value has none. It is read from
// text, such as "EUR=1000.00,JPY=150000,*=1000", and does not change then.
type Limits struct {
	text string
	by   map[string]int64 // minor units
}

// In is the limit for amounts in a currency, in minor units. Not limited: every
// amount is within. The limits of others say nothing about a currency that is
// not named, without "*" for the rest: then the limit is 0, which every amount
// exceeds.
func (l Limits) In(code string) (minor int64, limited bool) {
	return l.by[code], l.by != nil
}

// Any reports whether there are limits.
func (l Limits) Any() bool { return l.by != nil }

// String is the text that the limits were read from; "0" for none.
func (l Limits) String() string {
	if l.by == nil {
		return "0"
	}
	return l.text
}

// UnmarshalText reads "", "0" (no limits), or entries of the form CODE=AMOUNT,
// each amount in whole units of the currency with its decimals. "*" is the
// limit of all others; digits of it that a currency does not have count as
// zeros there.
func (l *Limits) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	if *l = (Limits{}); text == "" || text == "0" {
		return nil
	}
	read := Limits{text: text, by: map[string]int64{}}
	var seen []string
	others := ""
	for entry := range strings.SplitSeq(text, ",") {
		code, amount, ok := strings.Cut(strings.TrimSpace(entry), "=")
		switch {
		case !ok:
			return fmt.Errorf("%.40q names no currency: write EUR=1000.00, and *=1000.00 for all others (whole units, not cents); 0: no limit", entry)
		case slices.Contains(seen, code):
			return fmt.Errorf("%s has two limits", code)
		case code == rest && !decimal.MatchString(amount):
			return fmt.Errorf("%s=%.40s: %q %w", rest, amount, amount, errNotDecimal)
		case code == rest:
			others = amount
		default:
			minor, err := Parse(amount, code)
			if err == nil && minor <= 0 {
				err = fmt.Errorf("a limit must be more than 0")
			}
			if err != nil {
				return fmt.Errorf("%.40s: %w", entry, err)
			}
			read.by[code] = minor
		}
		seen = append(seen, code)
	}
	if others != "" {
		for _, code := range currency.GetCurrencyCodes() {
			if _, named := read.by[code]; named {
				continue
			}
			minor, err := floor(others, code)
			if err == nil && minor <= 0 {
				err = fmt.Errorf("a limit must be more than 0, also in %s", code)
			}
			if err != nil {
				return fmt.Errorf("%s=%s: %w", rest, others, err)
			}
			read.by[code] = minor
		}
	}
	*l = read
	return nil
}

// floor is Parse that drops the digits which a currency does not have.
func floor(number, code string) (int64, error) {
	digits, _ := Digits(code)
	whole, part, _ := strings.Cut(number, ".")
	if part = part[:min(len(part), digits)]; part != "" {
		whole += "." + part
	}
	return Parse(whole, code)
}

// MustLimits reads limits that are part of the program; it panics where
// UnmarshalText would return an error.
func MustLimits(text string) (l Limits) {
	if err := l.UnmarshalText([]byte(text)); err != nil {
		panic("limits " + text + ": " + err.Error())
	}
	return l
}
