package order

import (
	"strconv"
	"strings"
)

// Whole writes a JSON number without fraction and exponent: 2.0, 2e0 and 20e-1
// are 2. whole is false if it has a fraction. One with more digits than any
// integer type holds is returned as it is. number must be a valid JSON number.
func Whole(number string) (digits string, whole bool) {
	const most = 20 // digits, of the largest uint64
	rest, negative := strings.CutPrefix(number, "-")
	mantissa, exponent := rest, ""
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		mantissa, exponent = rest[:i], rest[i+1:]
	}
	before, after, _ := strings.Cut(mantissa, ".")
	significant := strings.TrimRight(before+after, "0")
	zeros := len(before) - len(significant) // that are missing up to the point
	significant = strings.TrimLeft(significant, "0")
	if significant == "" {
		return "0", true
	}
	if exponent != "" {
		e, err := strconv.Atoi(exponent)
		if err != nil || e < -len(number)-most || e > len(number)+most {
			return number, exponent[0] != '-' // far too large, or far too small
		}
		zeros += e
	}
	switch {
	case zeros < 0:
		return number, false
	case len(significant)+zeros > most:
		return number, true
	}
	digits = significant + strings.Repeat("0", zeros)
	if negative {
		digits = "-" + digits
	}
	return digits, true
}
