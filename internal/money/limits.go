package money

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bojanz/currency"
)

// rest is the key of the limit for all currencies without their own.
const rest = "*"

// Limits is a set of limits, one for each currency. It is parsed from text such as
// "EUR=1000.00,JPY=150000,*=1000" and does not change afterwards. The zero value has
// no limits. It is safe for concurrent use.
type Limits struct {
	text string
	by   map[string]int64 // minor units
}

// In returns the limit for amounts in a currency, in minor units. limited is false if
// there are no limits at all. If there are, but none for this currency and none for
// "*", the limit is 0, which every amount exceeds.
func (l Limits) In(code string) (minor int64, limited bool) {
	return l.by[code], l.by != nil
}

// Any reports whether there is at least one limit.
func (l Limits) Any() bool { return l.by != nil }

// String returns the text that the limits were parsed from, or "0" for no limits.
func (l Limits) String() string {
	if l.by == nil {
		return "0"
	}
	return l.text
}

// UnmarshalText parses "" or "0" (no limits), or comma-separated entries CODE=AMOUNT.
// An amount is in whole units of the currency, with its decimals. The entry "*" limits
// all other currencies; decimals that a currency does not have are dropped there.
// After an error l has no limits.
func (l *Limits) UnmarshalText(b []byte) error {
	*l = Limits{}
	text := strings.TrimSpace(string(b))
	if text == "" || text == "0" {
		return nil
	}
	read := Limits{text: text, by: map[string]int64{}}
	var seen []string
	others := ""
	for entry := range strings.SplitSeq(text, ",") {
		code, amount, ok := strings.Cut(strings.TrimSpace(entry), "=")
		switch {
		case !ok:
			return fmt.Errorf(
				"%.40q names no currency: use EUR=1000.00, and *=1000.00 for all others (whole units, not cents); 0 means no limit",
				entry,
			)
		case slices.Contains(seen, code):
			return fmt.Errorf("%s has two limits", code)
		case code == rest && !decimal.MatchString(amount):
			return fmt.Errorf("%s=%.40s: %q %w", rest, amount, amount, errNotDecimal)
		case code == rest:
			others = amount
		default:
			minor, err := Parse(amount, code)
			if err == nil && minor <= 0 {
				err = errors.New("a limit must be more than 0")
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

// floor is Parse, except that it drops decimals that the currency does not have.
func floor(number, code string) (int64, error) {
	digits, _ := Digits(code)
	whole, part, _ := strings.Cut(number, ".")
	part = part[:min(len(part), digits)]
	if part != "" {
		whole += "." + part
	}
	return Parse(whole, code)
}

// MustLimits parses limits that are part of the program. It panics if UnmarshalText
// returns an error.
func MustLimits(text string) (l Limits) {
	if err := l.UnmarshalText([]byte(text)); err != nil {
		panic("limits " + text + ": " + err.Error())
	}
	return l
}
