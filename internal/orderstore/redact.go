package orderstore

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ordersaga/ordersaga/internal/text"
)

// Redact removes from a carrier's text where the order goes and to whom. The text may
// quote the address or a word of it, in capitals as on a label, or the phone number in
// another spelling, and it ends up in logs and in the saga's history. Once the customer
// was erased nothing can be recognized, so Redact returns "".
func (r Record) Redact(said string) string {
	if r.Forgotten {
		return ""
	}
	if r.ShipTo == nil {
		return said
	}
	a := *r.ShipTo
	phones := []string{a.Phone}
	for _, of := range []string{a.Name, a.Line1, a.Line2} { // "mobile 0171 123456", where a shop has no field for it
		if len(text.Digits(of)) >= 7 {
			phones = append(phones, of)
		}
	}
	said = text.HidePhones(said, phones, hiddenAddress)
	var secret []string
	for _, of := range []string{a.Name, a.Line1, a.Line2, a.PostalCode, a.City, a.Region, a.Phone} {
		if len(of) > 2 { // less is in any text
			said = regexp.MustCompile("(?i)"+regexp.QuoteMeta(of)).ReplaceAllLiteralString(said, hiddenAddress)
		}
		for _, word := range strings.FieldsFunc(of, noWord) {
			if len(word) > 2 {
				secret = append(secret, word)
			}
		}
	}
	var out strings.Builder
	for len(said) > 0 {
		end := strings.IndexFunc(said, noWord)
		if end < 0 {
			end = len(said)
		}
		word := said[:end]
		if slices.ContainsFunc(secret, func(s string) bool { return strings.EqualFold(s, word) }) {
			word = hiddenAddress
		}
		out.WriteString(word)
		said = said[end:]
		if said != "" {
			_, size := utf8.DecodeRuneInString(said)
			out.WriteString(said[:size])
			said = said[size:]
		}
	}
	return out.String()
}

// hiddenAddress replaces what Redact removes.
const hiddenAddress = "(address)"

func noWord(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c) }
