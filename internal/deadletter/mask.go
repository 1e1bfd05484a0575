package deadletter

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/text"
)

// hiddenText replaces masked text.
const hiddenText = "•••"

// others replaces the names of unknown fields: a name may contain personal data too.
const others = "other fields"

// shown are the fields of messages and envelopes whose values contain no personal data, if they
// have the right form: a number, an id, a time, or objects, whose fields are checked on their
// own. A token or a name may look like an id, so strings are hidden where none belongs.
var shown = known(map[string]func(any) bool{
	`specVersion quantity unitPrice shipping tax discount total`:                     number,
	`orderId shipmentId sku id MessageId specversion type Type detail-type currency`: id,
	`placedAt time Timestamp`:               moment,
	`TopicArn`:                              topic,
	`lines data detail Message data_base64`: none,
})

// setOf returns words as a set.
func setOf(words []string) map[string]bool {
	all := make(map[string]bool, len(words))
	for _, w := range words {
		all[w] = true
	}
	return all
}

// named are the fields whose names are shown and whose values are hidden.
var named = known(map[string]func(any) bool{
	`customerId payment token shipTo name line1 line2 city postalCode region country phone
	reason trackingId source Source Subject account`: none,
})

// known indexes the checks by field name.
func known(kinds map[string]func(any) bool) map[string]func(any) bool {
	all := map[string]func(any) bool{}
	for names, is := range kinds {
		for n := range strings.FieldsSeq(names) {
			all[n] = is
		}
	}
	return all
}

// none accepts no value; number, id, moment and topic accept values of their form.
func none(any) bool { return false }

func number(v any) bool {
	text, ok := v.(string)
	return !ok || digits.MatchString(text)
}

func id(v any) bool {
	text, ok := v.(string)
	return !ok || order.ValidID(text)
}

func moment(v any) bool {
	text, ok := v.(string)
	_, err := time.Parse(time.RFC3339, text)
	return ok && err == nil
}

func topic(v any) bool {
	text, ok := v.(string)
	return ok && arn.MatchString(text)
}

var digits = regexp.MustCompile(`^-?[0-9]{1,16}(\.[0-9]{1,4})?$`)

var arn = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[A-Za-z0-9-]*:[0-9]*:[A-Za-z0-9_.-]+$`)

// Masked returns the dead letter as viewers see it: without payment tokens, addresses and the
// customer. It keeps only what is known to contain no personal data: a dead letter may contain
// anything. Of a body that is not a JSON object it keeps only the length. In the reason it
// hides the words that are hidden in the body, and phone numbers in every spelling.
func (l Message) Masked() Message {
	l.Masking = true
	v, err := l.content()
	body, open := fmt.Sprintf("%d bytes that are not a JSON object; visible to operators", len(l.Body)), []string(nil)
	if _, object := v.(map[string]any); err == nil && object {
		body = encode(mask(v, none))
		open = words(body)
	}
	hidden, phones := words(l.Body), []string(nil)
	walk("", v, func(f found) {
		hidden, phones = append(hidden, words(f.text)...), append(phones, f.text)
	})
	l.Reason = withoutWords(withoutPhones(l.Reason, phones, open), hidden, open)
	l.Body = body
	return l
}

// parse decodes one JSON value, with numbers as json.Number.
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

// encode returns v as JSON.
func encode(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // it was decoded from JSON
		return hiddenText
	}
	return strings.TrimSpace(b.String())
}

// mask hides values in an object. A value outside of an object belongs to the field above and
// is shown if shows accepts it.
func mask(v any, shows func(any) bool) any {
	switch v := v.(type) {
	case map[string]any:
		out, left := map[string]any{}, 0
		for name, value := range v {
			switch {
			case shown[name] != nil:
				out[name] = mask(value, shown[name])
			case named[name] != nil:
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
			out[i] = mask(value, shows)
		}
		return out
	case string, json.Number:
		if !shows(v) {
			return hiddenText
		}
	}
	return v
}

// hide hides all values and keeps the names that may be shown.
func hide(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return hiddenText
	}
	out := map[string]any{}
	for name, value := range object {
		if shown[name] != nil || named[name] != nil {
			out[name] = hide(value)
		} else {
			out[others] = hiddenText
		}
	}
	return out
}

// words returns the words of a text with three bytes or more.
func words(s string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(s, separates), func(w string) bool { return len(w) < 3 })
}

// separates reports whether c is not part of a word.
func separates(c rune) bool {
	return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("-_@.+", c)
}

// withoutWords hides words in a text, unless they are shown anyway. It also hides the last word
// of a text that was cut, which may be a part of a hidden one: always before an ellipsis, and
// before a quotation mark if a hidden word starts with it.
func withoutWords(text string, hidden, shown []string) string {
	// A message may have a hundred thousand words, and be read repeatedly.
	open, secret := setOf(shown), map[string]bool{}
	for _, w := range hidden {
		if !open[w] {
			secret[strings.Trim(w, ".-")] = true
		}
	}
	inOrder := slices.Sorted(maps.Keys(secret))
	startsHidden := func(word string) bool { // a hidden word starts with it
		i, _ := slices.BinarySearch(inOrder, word)
		return i < len(inOrder) && strings.HasPrefix(inOrder[i], word)
	}
	var out strings.Builder
	for len(text) > 0 {
		end := strings.IndexFunc(text, separates)
		switch {
		case end < 0:
			end = len(text)
		case end == 0:
			for i, c := range text {
				if i > 0 || !separates(c) {
					end = i
					break
				}
				end = len(text)
			}
		}
		word := text[:end]
		text = text[end:]
		cut := strings.HasPrefix(text, `"`) && startsHidden(word) ||
			strings.HasPrefix(text, "…") && !strings.ContainsFunc(word, separates)
		if cut || secret[strings.Trim(word, ".-")] {
			word = hiddenText
		}
		out.WriteString(word)
	}
	return out.String()
}

// withoutPhones hides the phone numbers of others in a text, unless their digits are shown
// anyway.
func withoutPhones(s string, others, shown []string) string {
	open := map[string]bool{"": true}
	for _, w := range shown {
		open[text.Digits(w)] = true
	}
	others = slices.DeleteFunc(others, func(o string) bool { return open[text.Digits(o)] })
	return text.HidePhones(s, others, hiddenText)
}

// messages are the fields that contain a whole message as a string.
var messages = setOf([]string{"data", "detail", "Message"})

// Concerns reports whether a dead letter is about a customer or one of the customer's orders,
// and not about one of the orders in kept. It decodes JSON in strings. A text that should be
// JSON and is not valid concerns the customer if one of the ids is a word of it. Other fields
// are ignored: the same text may mean something else there.
func (l Message) Concerns(customer string, orders, kept map[string]bool) bool {
	var about, not bool
	is := func(id string) { about, not = about || orders[id], not || kept[id] }
	within := func(text string) {
		for _, w := range words(text) {
			about = about || w == customer
			is(w)
		}
	}
	v, _ := l.content()
	walk("", v, func(f found) {
		text := strings.TrimSpace(f.text)
		plain := strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(f.name))
		switch broken := f.name == "" || messages[f.name] || damaged.MatchString(text); {
		case f.isName:
		case (plain == "customerid" || plain == "customer") && text == customer:
			about = true
		case plain == "orderid" && !broken:
			is(text)
		case broken:
			within(text)
		case f.name == "data_base64":
			if b, err := base64.StdEncoding.DecodeString(text); err == nil {
				text = string(b)
			}
			within(text)
		}
	})
	return about && !not
}
