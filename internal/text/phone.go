package text

import (
	"strings"
	"unicode"
)

const (
	// suffix is the number of last digits by which a phone number is recognized: a
	// subscriber's number without codes. Shorter ones occur in any text.
	suffix = 6
	// maxDigits is the maximum number of digits of a phone number, with a prefix. E.164
	// allows 15, without one.
	maxDigits = 20
	// maxGap is the maximum number of characters between two digits of a number: ") (".
	maxGap = 3
	// abroad precedes the code of a country, if there is no plus.
	abroad = "00"
)

// HidePhones replaces the given phone numbers in s by with. It recognizes them in every
// spelling: with blanks, dashes, dots, slashes or parentheses, or none; with +, 00 or a
// national 0; and shortened to their last digits, six or more. Each of phones is a text
// with one or more numbers.
func HidePhones(s string, phones []string, with string) string {
	known := map[string][]string{} // by their last digits
	for _, p := range phones {
		for _, n := range numbersOf(p) {
			known[ending(n)] = append(known[ending(n)], n)
		}
	}
	if len(known) == 0 {
		return s
	}
	var out strings.Builder
	done := 0 // bytes of s that are in out, or replaced
	for _, run := range runs(s) {
		for i := 0; i < len(run); i++ {
			j := lastOf(run, i, known)
			if j < i {
				continue
			}
			begin := startOf(s[done:run[j].end], run[i].begin-done) + done
			out.WriteString(s[done:begin])
			out.WriteString(with)
			done, i = run[j].end, j
		}
	}
	out.WriteString(s[done:])
	return out.String()
}

// group is a sequence of adjacent digits.
type group struct {
	digits     string
	begin, end int // byte offsets in the text
}

// runs returns the groups of digits in a text. Groups that may form one number are
// in one run.
func runs(s string) (all [][]group) {
	before := -1 // the end of the previous group
	for i := 0; i < len(s); {
		if !digit(s[i]) {
			i++
			continue
		}
		g := group{begin: i}
		for i < len(s) && digit(s[i]) {
			i++
		}
		g.digits, g.end = s[g.begin:i], i
		if before < 0 || !separates(s[before:g.begin]) {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], g)
		before = i
	}
	return all
}

// Digits returns the ASCII digits of s.
func Digits(s string) string {
	return strings.Map(func(c rune) rune {
		if c < '0' || c > '9' {
			return -1
		}
		return c
	}, s)
}

func digit(b byte) bool { return '0' <= b && b <= '9' }

// separates reports whether s may be between two groups of one number.
func separates(s string) bool {
	n := 0
	for _, r := range s {
		n++
		if n > maxGap || !unicode.IsSpace(r) && !unicode.Is(unicode.Pd, r) && !strings.ContainsRune("./()+", r) {
			return false
		}
	}
	return true
}

// numbersOf returns the digits of each phone number in a text. The text is one number,
// or two with a slash between them.
func numbersOf(phone string) (all []string) {
	for _, part := range append(strings.Split(phone, "/"), phone) {
		for _, run := range runs(part) {
			var n strings.Builder
			if strings.HasSuffix(part[:run[0].begin], "+") {
				n.WriteString(abroad)
			}
			for _, g := range run {
				n.WriteString(g.digits)
			}
			// A short part may be an area code.
			if n.Len() >= suffix || part == phone && len(all) == 0 && n.Len() > 2 {
				all = append(all, n.String())
			}
		}
	}
	return all
}

// ending returns the digits under which a number is known.
func ending(number string) string { return number[max(0, len(number)-suffix):] }

// lastOf returns the index of the last group of the longest known number that starts at
// the i-th group, or -1.
func lastOf(run []group, i int, known map[string][]string) int {
	last, digits := -1, ""
	for j := i; j < len(run) && len(digits)+len(run[j].digits) <= maxDigits; j++ {
		digits += run[j].digits
		for _, n := range known[ending(digits)] {
			if same(digits, n) {
				last = j
			}
		}
	}
	return last
}

// same reports whether two sequences of digits are one phone number: the shorter one is
// the end of the longer one. The digits that only one has are the code of a country or
// an area; a 0 between them is only dialled within a country. Nothing precedes the code
// of a country.
func same(found, phone string) bool {
	if found == phone {
		return true
	}
	n := 0
	for n < min(len(found), len(phone)) && found[len(found)-1-n] == phone[len(phone)-1-n] {
		n++
	}
	a, b := strings.Trim(found[:len(found)-n], "0"), strings.Trim(phone[:len(phone)-n], "0")
	return n >= suffix && (a == "" || a == b || b == "" && len(a) <= 3 && !strings.HasPrefix(phone, abroad))
}

// startOf returns the start of the number whose digits are from i to the end of s: it
// includes a plus, and a parenthesis that is closed within the number.
func startOf(s string, i int) int {
	if i > 0 && s[i-1] == '+' {
		i--
	}
	if i > 0 && s[i-1] == '(' && strings.Count(s[i:], ")") > strings.Count(s[i:], "(") {
		i--
	}
	return i
}
