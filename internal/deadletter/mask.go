package deadletter

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ordersaga/ordersaga/internal/order"
)

// hiddenText is in the place of what is not shown.
const hiddenText = "•••"

// others is the name that stands for the fields whose names are not known: a name
// may be anything, too.
const others = "other fields"

// shown are the fields of the messages and of their envelopes whose values say
// nothing about a person, as long as they are numbers, ids or times.
var shown = known(`specVersion specversion type Type orderId shipmentId sku quantity unitPrice currency placedAt
	shipping tax discount total lines id time MessageId TopicArn Timestamp detail-type data detail Message data_base64`)

// named are the fields whose names may be shown, and their values not.
var named = known(`customerId payment token shipTo name line1 line2 city postalCode region country phone
	reason trackingId source Source Subject account`)

// wraps are the fields that have a whole message in a text.
var wraps = known(`data detail Message data_base64`)

func known(names string) map[string]bool { return setOf(strings.Fields(names)) }

func setOf(words []string) map[string]bool {
	all := make(map[string]bool, len(words))
	for _, w := range words {
		all[w] = true
	}
	return all
}

var arn = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[A-Za-z0-9-]*:[0-9]*:[A-Za-z0-9_.-]+$`)

// Masked is the letter as it is shown to those who may look and not act: without
// payment tokens, addresses, and who is the customer. Only what is known to say
// nothing about a person is left, of whatever comes: a letter is one because
// something is wrong with it. Of a body that is not a JSON object only the length
// is. In the reason, words that are hidden in the body are hidden as well.
func (l Letter) Masked() Letter {
	l.Masking = true
	v, err := parse([]byte(l.Body))
	if _, object := v.(map[string]any); err != nil || !object {
		l.Reason = withoutWords(l.Reason, words(l.Body), nil)
		l.Body = fmt.Sprintf("%d bytes that are not a JSON object; operators can read them", len(l.Body))
		return l
	}
	body := encode(mask(v))
	l.Reason = withoutWords(l.Reason, append(words(l.Body), wordsOf(v)...), words(body))
	l.Body = body
	return l
}

func parse(b []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("data after the JSON value: %w", err)
	}
	return v, nil
}

func encode(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // it was decoded from JSON
		return hiddenText
	}
	return strings.TrimSpace(b.String())
}

// unwrapped is what a text carries that is the value of a field which has whole
// messages in it, or the text.
func unwrapped(name string, v any) any {
	text, ok := v.(string)
	if !ok || !wraps[name] {
		return v
	}
	b := []byte(text)
	if name == "data_base64" {
		var err error
		if b, err = base64.StdEncoding.DecodeString(text); err != nil {
			return v
		}
	}
	inner, err := parse(b)
	if _, object := inner.(map[string]any); err != nil || !object {
		return v
	}
	return inner
}

// mask hides what is in an object; a value outside of one is of the field above.
func mask(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out, left := map[string]any{}, 0
		for name, value := range v {
			value = unwrapped(name, value)
			switch {
			case shown[name]:
				out[name] = mask(value)
			case named[name]:
				out[name] = hide(value)
			default:
				left++
			}
		}
		if left > 0 {
			out[others] = fmt.Sprintf("%d %s", left, hiddenText)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = mask(value)
		}
		return out
	case string:
		if _, err := time.Parse(time.RFC3339, v); err == nil || order.ValidID(v) || arn.MatchString(v) {
			return v
		}
		return hiddenText
	}
	return v
}

// hide hides all values, and keeps the names that may be shown.
func hide(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return hiddenText
	}
	out := map[string]any{}
	for name, value := range object {
		if shown[name] || named[name] {
			out[name] = hide(value)
		} else {
			out[others] = hiddenText
		}
	}
	return out
}

// words are those of a text, of three letters or more.
func words(s string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(s, between), func(w string) bool { return len(w) < 3 })
}

func between(c rune) bool {
	return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("-_@.+", c)
}

// wordsOf are those of all names and texts, also of what is wrapped in one.
func wordsOf(v any) (all []string) {
	walk("", v, func(_, text string) { all = append(all, words(text)...) })
	return all
}

// walk gives f every text and number with the name of its field, and every name,
// with "", also of what is wrapped in a text.
func walk(name string, v any, f func(name, text string)) {
	switch v := unwrapped(name, v).(type) {
	case map[string]any:
		for n, value := range v {
			f("", n)
			walk(n, value, f)
		}
	case []any:
		for _, value := range v {
			walk(name, value, f)
		}
	case string:
		f(name, v)
	case json.Number:
		f(name, v.String())
	}
}

// withoutWords hides words in a text, unless they are shown anyway. The last one
// of a text that was cut goes with them: it may be a part of one.
func withoutWords(text string, hidden, shown []string) string {
	// A letter may have a hundred thousand words, and be read over and over.
	open, secret := setOf(shown), map[string]bool{}
	for _, w := range hidden {
		if !open[w] {
			secret[strings.Trim(w, ".-")] = true
		}
	}
	if cut, ok := strings.CutSuffix(text, "…"); ok {
		if i := strings.LastIndexFunc(cut, between); i < len(cut)-1 {
			text = cut[:i+1] + hiddenText + "…"
		}
	}
	var out strings.Builder
	for len(text) > 0 {
		end := strings.IndexFunc(text, between)
		switch {
		case end < 0:
			end = len(text)
		case end == 0:
			for i, c := range text {
				if i > 0 || !between(c) {
					end = i
					break
				}
				end = len(text)
			}
		}
		word := text[:end]
		if secret[strings.Trim(word, ".-")] {
			word = hiddenText
		}
		out.WriteString(word)
		text = text[end:]
	}
	return out.String()
}

// Concerns reports whether a letter is about a customer, or about one of the
// orders of theirs that are given, and not about another order that is: kept.
// What cannot be read as JSON is, if one of these ids is a word of it.
func (l Letter) Concerns(customer string, orders, kept map[string]bool) bool {
	var about, not bool
	v, err := parse([]byte(l.Body))
	if err != nil {
		for _, w := range words(l.Body) {
			about = about || w == customer || orders[w]
		}
		return about
	}
	walk("", v, func(name, text string) {
		switch {
		case strings.EqualFold(name, "customerId"):
			about = about || text == customer
		case strings.EqualFold(name, "orderId"):
			about, not = about || orders[text], not || kept[text]
		}
	})
	return about && !not
}
