// Package text is the door for what others wrote: the payment provider, the
// carrier, a client of the API, an error's text. Whatever passes it fits into
// a message, a DynamoDB item and a saga's history, and may be shown.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// Max is how many characters of a foreign text are kept.
	Max = 1000
	// MaxID is how many bytes an id from outside may have. A longer one is
	// refused and not cut: half an id names nothing, or something else.
	MaxID = 200
)

const ellipsis = '…'

// Cut returns s as valid UTF-8 of at most n characters. The last one is an
// ellipsis if something is missing. White space becomes a space each; other
// control characters, and what is no character, become U+FFFD: SQS and SNS
// refuse a message that has them. n below 1 gives "".
func Cut(s string, n int) string {
	if n < 1 {
		return ""
	}
	var b strings.Builder
	b.Grow(min(len(s), n))
	count, last := 0, 0 // characters so far, and where the last of those begins
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

// clean is for a rune of a string that may be invalid UTF-8: range has made
// that U+FFFD.
func clean(r rune) rune {
	switch {
	case unicode.IsControl(r) && unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r) || r == 0xFFFE || r == 0xFFFF:
		return utf8.RuneError
	}
	return r
}

// IsID reports whether s can be an id that somebody else made: 1 to MaxID
// bytes of valid UTF-8 without control characters, and no space around it.
func IsID(s string) bool {
	return s != "" && len(s) <= MaxID && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return clean(r) != r })
}

// Err returns err with a text of at most Max characters, or err itself if it
// has one already. What it wraps is still found by errors.Is and errors.As.
func Err(err error) error {
	if err == nil {
		return nil
	}
	said := err.Error()
	short := Cut(said, Max)
	if short == said {
		return err
	}
	return &cut{short, err}
}

type cut struct {
	text string
	err  error
}

func (c *cut) Error() string { return c.text }
func (c *cut) Unwrap() error { return c.err }
