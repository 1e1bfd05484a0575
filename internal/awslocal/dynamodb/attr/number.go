package attr

import (
	"cmp"
	"math/big"
	"strconv"
	"strings"
)

// Limits of DynamoDB's numbers; see
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
const (
	maxDigits   = 38
	maxExponent = 125  // the largest magnitude is 9.99…E+125
	minExponent = -130 // the smallest is 1E-130
)

// ParseNumber returns the canonical form of a number: decimal, without exponent, leading or
// trailing zeros. Equal numbers have the same form. What DynamoDB does not accept as a number
// is a *ValidationError.
func ParseNumber(s string) (string, error) {
	if n := len(s); n > 0 && n <= 18 && isPlainInt(s) {
		return s, nil
	}
	d, ok := parseDecimal(strings.TrimSpace(s))
	if !ok {
		return "", invalid("A value provided cannot be converted into a number")
	}
	return d.canonical()
}

// isPlainInt reports whether s is an integer in canonical form.
func isPlainInt(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	if digits == "0" {
		return len(s) == 1
	}
	if digits == "" || digits[0] == '0' {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}

// decimal is the number coefficient × 10^exponent.
type decimal struct {
	coefficient *big.Int
	exponent    int
}

func parseDecimal(s string) (decimal, bool) {
	mantissa, exp, hasExp := strings.Cut(strings.ToLower(s), "e")
	e := 0
	if hasExp {
		n, err := strconv.Atoi(strings.TrimPrefix(exp, "+"))
		if err != nil || n > 1000 || n < -1000 {
			return decimal{}, false
		}
		e = n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimPrefix(whole, "+") + fraction
	if strings.Trim(strings.TrimPrefix(digits, "-"), "0123456789") != "" || len(digits) > 1000 {
		return decimal{}, false
	}
	c, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return decimal{}, false
	}
	return decimal{coefficient: c, exponent: e - len(fraction)}, true
}

// canonical returns the canonical form of d, or a *ValidationError if it exceeds DynamoDB's
// limits.
func (d decimal) canonical() (string, error) {
	digits := new(big.Int).Abs(d.coefficient).String()
	trimmed := strings.TrimRight(digits, "0")
	if trimmed == "" {
		return "0", nil
	}
	exp := d.exponent + len(digits) - len(trimmed)
	digits = trimmed
	if len(digits) > maxDigits {
		return "", invalid("Attempting to store more than %d significant digits in a Number", maxDigits)
	}
	switch magnitude := exp + len(digits) - 1; {
	case magnitude > maxExponent:
		return "", invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case magnitude < minExponent:
		return "", invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	}
	var out string
	switch point := len(digits) + exp; {
	case exp >= 0:
		out = digits + strings.Repeat("0", exp)
	case point > 0:
		out = digits[:point] + "." + digits[point:]
	default:
		out = "0." + strings.Repeat("0", -point) + digits
	}
	if d.coefficient.Sign() < 0 {
		out = "-" + out
	}
	return out, nil
}

// aligned returns the coefficients of two canonical numbers for a common exponent.
func aligned(a, b string) (x, y *big.Int, exponent int) {
	da, _ := parseDecimal(a)
	db, _ := parseDecimal(b)
	exponent = min(da.exponent, db.exponent)
	scale := func(d decimal) *big.Int {
		ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.exponent-exponent)), nil)
		return ten.Mul(ten, d.coefficient)
	}
	return scale(da), scale(db), exponent
}

// small returns two canonical numbers as integers; ok is false if they do not fit.
func small(a, b string) (x, y int64, ok bool) {
	if len(a) > 18 || len(b) > 18 {
		return 0, 0, false
	}
	x, err1 := strconv.ParseInt(a, 10, 64)
	y, err2 := strconv.ParseInt(b, 10, 64)
	return x, y, err1 == nil && err2 == nil
}

func compareNumbers(a, b string) int {
	if x, y, ok := small(a, b); ok {
		return cmp.Compare(x, y)
	}
	x, y, _ := aligned(a, b)
	return x.Cmp(y)
}

// Add returns the sum of two numbers, or their difference v − o if negate is true. A result
// beyond DynamoDB's limits is a *ValidationError.
func (v Value) Add(o Value, negate bool) (Value, error) {
	if x, y, ok := small(v.Str, o.Str); ok { // 18 digits each, so the sum cannot overflow
		if negate {
			y = -y
		}
		return Value{Kind: N, Str: strconv.FormatInt(x+y, 10)}, nil
	}
	x, y, exponent := aligned(v.Str, o.Str)
	if negate {
		y.Neg(y)
	}
	s, err := decimal{coefficient: x.Add(x, y), exponent: exponent}.canonical()
	return Value{Kind: N, Str: s}, err
}
