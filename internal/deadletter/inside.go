package deadletter

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
)

// depth is how many texts inside each other are looked into.
const depth = 10

// content is the body with what its texts carry in place of them: see opened. If
// the body is not JSON it is a text, or what that carries, and err is why.
func (l Letter) content() (v any, err error) {
	v, err = parse([]byte(l.Body))
	if err != nil {
		v = l.Body
	}
	return opened(v, depth), err
}

// opened replaces each text that is itself JSON by that: a producer, or what a
// message came through, may have encoded the whole or a part of it once more.
func opened(v any, depth int) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			v[name] = opened(value, depth)
		}
	case []any:
		for i, value := range v {
			v[i] = opened(value, depth)
		}
	case string:
		inner, ok := inside(v)
		if ok && depth > 0 {
			return opened(inner, depth-1)
		}
	}
	return v
}

// inside is what a text carries if it is JSON, or JSON in base64: an object, an
// array or a text. A number in a text is one that somebody has written so.
func inside(text string) (v any, ok bool) {
	if !begins(text) {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || !begins(string(b)) {
			return nil, false
		}
		text = string(b)
	}
	v, err := parse([]byte(text))
	return v, err == nil
}

// begins reports whether a text begins as a JSON object, array or text does.
func begins(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || strings.HasPrefix(text, `"`)
}

// damaged is how a text begins that should be JSON and cannot be read. A remark in
// brackets or quotation marks is none.
var damaged = regexp.MustCompile(`^\s*(\{\s*["'\\]|[\["]\s*[{\["\\])`)

// found is a text or number in a message with the name of its field, or the name
// of a field.
type found struct {
	name, text string
	isName     bool
}

// walk gives f all names, texts and numbers of what is opened. The id of an object
// has the object's name before it.
func walk(name string, v any, f func(found)) {
	switch v := v.(type) {
	case map[string]any:
		for n, value := range v {
			f(found{text: n, isName: true})
			if strings.EqualFold(n, "id") {
				n = name + n
			}
			walk(n, value, f)
		}
	case []any:
		for _, value := range v {
			walk(name, value, f)
		}
	case string:
		f(found{name: name, text: v})
	case json.Number:
		f(found{name: name, text: v.String()})
	}
}
