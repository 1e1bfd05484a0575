package text

import (
	"strings"
	"unicode"
)

const (
	// suffix is how many of its last digits make a phone number known: a subscriber's
	// number without codes. Fewer are in any text.
	suffix = 6
	// longest is how many digits a phone number has at most, with a prefix.
	longest = 20
	// apart is how many characters may be between two digits of one: ") (" are three.
	apart = 3
	// abroad is before the code of a country, if there is no plus.
	abroad = "00"
)

// HidePhones replaces phone numbers in s, however they are spelled: with blanks,
// dashes, dots, slashes or parentheses or without, with +, 00, a national 0 or only
// the last digits, six or more. Each of phones is a text that has one or more.
func HidePhones(s string, phones []string, with string) string {
	known := map[string][]string{} // by their end
	for _, p := range phones {
		for _, n := range numbersOf(p) {
			known[ending(n)] = append(known[ending(n)], n)
		}
	}
	if len(known) == 0 {
		return s
	}
	var out strings.Builder
	done := 0 // bytes of s
	for _, run := range runs(s) {
		for i := 0; i < len(run); i++ {
			j := lastOf(run, i, known)
			if j < i {
				continue
			}
			begin := begins(s[done:run[j].end], run[i].begin-done) + done
			out.WriteString(s[done:begin])
			out.WriteString(with)
			done, i = run[j].end, j
		}
	}
	out.WriteString(s[done:])
	return out.String()
}

// group is digits without anything between them.
type group struct {
	digits     string
	begin, end int // in the text
}

// runs are the groups of digits in a text, those together that may be one number.
func runs(s string) (all [][]group) {
	before := -1 // where the last group ended
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

// Digits is s without all that is no digit.
func Digits(s string) string {
	return strings.Map(func(c rune) rune {
		if c < '0' || c > '9' {
			return -1
		}
		return c
	}, s)
}

func digit(b byte) bool { return '0' <= b && b <= '9' }

func separates(s string) bool {
	n := 0
	for _, r := range s {
		if n++; n > apart || !unicode.IsSpace(r) && !unicode.Is(unicode.Pd, r) && !strings.ContainsRune("./()+", r) {
			return false
		}
	}
	return true
}

// numbersOf are the digits of the phone numbers in a text that is one, or has two
// with a slash between them.
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
			// A part that is short may be an area code.
			if n.Len() >= suffix || part == phone && len(all) == 0 && n.Len() > 2 {
				all = append(all, n.String())
			}
		}
	}
	return all
}

func ending(number string) string { return number[max(0, len(number)-suffix):] }

// lastOf is the last of the groups that are a phone number from the i-th on, or -1.
func lastOf(run []group, i int, known map[string][]string) int {
	last, digits := -1, ""
	for j := i; j < len(run) && len(digits)+len(run[j].digits) <= longest; j++ {
		digits += run[j].digits
		for _, n := range known[ending(digits)] {
			if same(digits, n) {
				last = j
			}
		}
	}
	return last
}

// same reports whether two texts of digits are one phone number: all of the
// shorter one is the end of the other. What only one has before it is the code of
// a country or an area; a 0 in between is said within a country. Before the code
// of a country there is nothing.
func same(said, phone string) bool {
	if said == phone {
		return true
	}
	n := 0
	for n < min(len(said), len(phone)) && said[len(said)-1-n] == phone[len(phone)-1-n] {
		n++
	}
	a, b := strings.Trim(said[:len(said)-n], "0"), strings.Trim(phone[:len(phone)-n], "0")
	return n >= suffix && (a == "" || a == b || b == "" && len(a) <= 3 && !strings.HasPrefix(phone, abroad))
}

// begins is where a number does whose digits are from i to the end of s: with its
// plus, and with the parenthesis that is closed in it.
func begins(s string, i int) int {
	if i > 0 && s[i-1] == '+' {
		i--
	}
	if i > 0 && s[i-1] == '(' && strings.Count(s[i:], ")") > strings.Count(s[i:], "(") {
		i--
	}
	return i
}
