package deadletter

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
)

// maxDepth is the maximum nesting of JSON in strings that is decoded.
const maxDepth = 10

// content returns the body with all nested JSON decoded: see decodeNested. If the body is not
// JSON, v is the text or what is nested in it, and err is why.
func (l Message) content() (v any, err error) {
	v, err = parse([]byte(l.Body))
	if err != nil {
		v = l.Body
	}
	return decodeNested(v, maxDepth), err
}

// decodeNested replaces each string that is itself JSON by its value. A producer or an
// intermediary may have encoded the whole message or a part of it again.
func decodeNested(v any, depth int) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			v[name] = decodeNested(value, depth)
		}
	case []any:
		for i, value := range v {
			v[i] = decodeNested(value, depth)
		}
	case string:
		inner, ok := decodeString(v)
		if ok && depth > 0 {
			return decodeNested(inner, depth-1)
		}
	}
	return v
}

// decodeString decodes a string that is JSON, or JSON in base64: an object, an array or a
// string. A number in a string is not decoded.
func decodeString(text string) (v any, ok bool) {
	if !looksLikeJSON(text) {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || !looksLikeJSON(string(b)) {
			return nil, false
		}
		text = string(b)
	}
	v, err := parse([]byte(text))
	return v, err == nil
}

// looksLikeJSON reports whether a text starts like a JSON object, array or string.
func looksLikeJSON(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || strings.HasPrefix(text, `"`)
}

// damaged matches the start of a text that should be JSON and is not valid. It does not match a
// remark in brackets or quotation marks.
var damaged = regexp.MustCompile(`^\s*(\{\s*["'\\]|[\["]\s*[{\["\\])`)

// found is a value in a message with the name of its field, or the name of a field.
type found struct {
	name, text string
	isName     bool
}

// walk passes all names, strings and numbers of a decoded message to f. The name of an object's
// id is prefixed with the object's name.
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
