// Package text sanitizes text from outside: from the payment provider, the carrier,
// API clients and error messages. Its results fit into a message, a DynamoDB item and
// a saga's history, and are safe to display.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// Max is the maximum length of a text from outside, in characters. A longer one is
	// cut.
	Max = 1000
	// MaxID is the maximum length of an id from outside, in bytes. A longer one is
	// rejected, not cut: half an id names nothing, or something else.
	MaxID = 200
)

const ellipsis = '…'

// Cut returns s as valid UTF-8 of at most n characters. If it shortens s, the last
// character is an ellipsis. It replaces each white space by a space. Other control
// characters and invalid bytes become U+FFFD: SQS and SNS reject messages that contain
// them. For n below 1 it returns "".
func Cut(s string, n int) string {
	if n < 1 {
		return ""
	}
	var b strings.Builder
	b.Grow(min(len(s), n))
	count, last := 0, 0 // characters so far, and the byte offset of the last one
	for _, r := range s {
		if count == n {
			return b.String()[:last] + string(ellipsis)
		}
		last = b.Len()
		b.WriteRune(clean(r))
		count++
	}
	return b.String()
}

// clean replaces a rune that SQS rejects. Invalid UTF-8 is U+FFFD already: range
// over a string does that.
func clean(r rune) rune {
	switch {
	case unicode.IsControl(r) && unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r) || r == 0xFFFE || r == 0xFFFF:
		return utf8.RuneError
	}
	return r
}

// IsID reports whether s is acceptable as an id from outside: 1 to MaxID bytes of valid
// UTF-8 without control characters and without surrounding space.
func IsID(s string) bool {
	return s != "" && len(s) <= MaxID && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return clean(r) != r })
}

// Err returns err with its text limited to Max characters; err itself if its text is
// short enough, and nil for nil. The result wraps err.
func Err(err error) error {
	if err == nil {
		return nil
	}
	full := err.Error()
	short := Cut(full, Max)
	if short == full {
		return err
	}
	return &cut{text: short, err: err}
}

// cut is an error with a shortened text.
type cut struct {
	text string
	err  error
}

func (c *cut) Error() string { return c.text }
func (c *cut) Unwrap() error { return c.err }
