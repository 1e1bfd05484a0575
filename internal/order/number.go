package order

import (
	"strconv"
	"strings"
)

// Whole converts a JSON number to digits without fraction and exponent: 2.0, 2e0 and 20e-1
// become 2. whole is false if the value has a fraction. A number with more digits than any
// integer type has is returned unchanged. number must be a valid JSON number.
func Whole(number string) (digits string, whole bool) {
	const maxDigits = 20 // of the largest uint64
	rest, negative := strings.CutPrefix(number, "-")
	mantissa, exponent := rest, ""
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		mantissa, exponent = rest[:i], rest[i+1:]
	}
	before, after, _ := strings.Cut(mantissa, ".")
	significant := strings.TrimRight(before+after, "0")
	zeros := len(before) - len(significant) // to append before the decimal point
	significant = strings.TrimLeft(significant, "0")
	if significant == "" {
		return "0", true
	}
	if exponent != "" {
		e, err := strconv.Atoi(exponent)
		if err != nil || e < -len(number)-maxDigits || e > len(number)+maxDigits {
			return number, exponent[0] != '-' // far too large, or far too small for an integer
		}
		zeros += e
	}
	switch {
	case zeros < 0:
		return number, false
	case len(significant)+zeros > maxDigits:
		return number, true
	}
	digits = significant + strings.Repeat("0", zeros)
	if negative {
		digits = "-" + digits
	}
	return digits, true
}
