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
)

// hiddenText is in the place of what is not shown.
const hiddenText = "•••"

// others is the name that stands for the fields whose names are not known: a name
// may be anything, too.
const others = "other fields"

// shown are the fields of the messages and of their envelopes whose values say
// nothing about a person, as long as they are what they should be: a number, an
// id, a time, or objects, of which each field is judged by itself. A token or a
// name may be spelled like an id, so a text that should be none is not shown.
var shown = known(map[string]func(any) bool{
	`specVersion quantity unitPrice shipping tax discount total`:                     number,
	`orderId shipmentId sku id MessageId specversion type Type detail-type currency`: id,
	`placedAt time Timestamp`:               moment,
	`TopicArn`:                              topic,
	`lines data detail Message data_base64`: none,
})

func setOf(words []string) map[string]bool {
	all := make(map[string]bool, len(words))
	for _, w := range words {
		all[w] = true
	}
	return all
}

// named are the fields whose names may be shown, and their values not.
var named = known(map[string]func(any) bool{
	`customerId payment token shipTo name line1 line2 city postalCode region country phone
	reason trackingId source Source Subject account`: none,
})

// wraps are the fields that have a whole message in a text.
var wraps = known(map[string]func(any) bool{`data detail Message data_base64`: none})

func known(kinds map[string]func(any) bool) map[string]func(any) bool {
	all := map[string]func(any) bool{}
	for names, is := range kinds {
		for _, n := range strings.Fields(names) {
			all[n] = is
		}
	}
	return all
}

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
	body := encode(mask(v, none))
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
	if !ok || wraps[name] == nil {
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

// mask hides what is in an object; a value outside of one is of the field above,
// and is shown if that says so.
func mask(v any, shows func(any) bool) any {
	switch v := v.(type) {
	case map[string]any:
		out, left := map[string]any{}, 0
		for name, value := range v {
			value = unwrapped(name, value)
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

// hide hides all values, and keeps the names that may be shown.
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
// with "", also of what is wrapped in a text. The id of an object has the object's
// name before it.
func walk(name string, v any, f func(name, text string)) {
	switch v := unwrapped(name, v).(type) {
	case map[string]any:
		for n, value := range v {
			f("", n)
			if n == "id" {
				n = name + n
			}
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
// of a text that was cut goes with them, for it may be a part of one: before an
// ellipsis whatever it is, and before a quotation mark if one begins so.
func withoutWords(text string, hidden, shown []string) string {
	// A letter may have a hundred thousand words, and be read over and over.
	open, secret := setOf(shown), map[string]bool{}
	for _, w := range hidden {
		if !open[w] {
			secret[strings.Trim(w, ".-")] = true
		}
	}
	inOrder := slices.Sorted(maps.Keys(secret))
	begins := func(word string) bool { // one of them does with it
		i, _ := slices.BinarySearch(inOrder, word)
		return i < len(inOrder) && strings.HasPrefix(inOrder[i], word)
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
		text = text[end:]
		cut := strings.HasPrefix(text, `"`) && begins(word) ||
			strings.HasPrefix(text, "…") && !strings.ContainsFunc(word, between)
		if cut || secret[strings.Trim(word, ".-")] {
			word = hiddenText
		}
		out.WriteString(word)
	}
	return out.String()
}

// Concerns reports whether a letter is about a customer, or about one of the
// orders of theirs that are given, and not about another order that is: kept.
// What cannot be read as JSON is, if one of these ids is a word of it; so it is
// with what a message carries that cannot. A field of another name may have the
// same text and mean something else.
func (l Letter) Concerns(customer string, orders, kept map[string]bool) bool {
	var about, not bool
	within := func(text string) {
		for _, w := range words(text) {
			about, not = about || w == customer || orders[w], not || kept[w]
		}
	}
	v, err := parse([]byte(l.Body))
	if err != nil {
		within(l.Body)
		return about && !not
	}
	walk("", v, func(name, text string) {
		switch plain := strings.NewReplacer("_", "", "-", "").Replace(name); {
		case strings.EqualFold(plain, "customerId"):
			about = about || text == customer
		case strings.EqualFold(plain, "orderId"):
			about, not = about || orders[text], not || kept[text]
		case name == "data_base64":
			if b, err := base64.StdEncoding.DecodeString(text); err == nil {
				text = string(b)
			}
			within(text)
		case wraps[name] != nil:
			within(text)
		}
	})
	return about && !not
}
