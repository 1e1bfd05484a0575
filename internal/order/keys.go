package order

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Repeated returns a fault for each field of v's type, a struct, that raw has
// more than once, also if the names differ in case only: the decoder would
// take the last without a word, and another reader of the same message may
// take the first. raw must be JSON that decodes into v; what v does not know
// may be there as often as it likes.
func Repeated(raw []byte, v any) []FieldError {
	return repeated(raw, reflect.TypeOf(v), "")
}

func repeated(raw []byte, t reflect.Type, at string) (faults []FieldError) {
	switch t.Kind() {
	case reflect.Pointer:
		return repeated(raw, t.Elem(), at)
	case reflect.Slice:
		var list []json.RawMessage
		if t.Elem().Kind() != reflect.Struct || json.Unmarshal(raw, &list) != nil {
			return nil
		}
		for i, e := range list {
			faults = append(faults, repeated(e, t.Elem(), fmt.Sprintf("%s[%d]", at, i))...)
		}
		return faults
	case reflect.Struct:
		return repeatedIn(raw, t, at)
	default:
		return nil
	}
}

func repeatedIn(raw []byte, t reflect.Type, at string) (faults []FieldError) {
	if at != "" {
		at += "."
	}
	seen := make([]string, t.NumField()) // how each field was spelt at first
	told := make([]bool, t.NumField())   // once is enough
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil
	}
	for dec.More() {
		token, err := dec.Token()
		key, ok := token.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return faults
		}
		n, name := fieldOf(t, key)
		switch {
		case n < 0 || told[n]:
		case seen[n] == "":
			seen[n] = key
			faults = append(faults, repeated(value, t.Field(n).Type, at+name)...)
		default:
			told[n] = true
			message := "appears more than once"
			if seen[n] != key {
				message += fmt.Sprintf(": as %q and as %q", seen[n], key)
			}
			faults = append(faults, FieldError{at + name, message})
		}
	}
	return faults
}

// fieldOf finds the field that the decoder would put a key's value into.
func fieldOf(t reflect.Type, key string) (n int, name string) {
	for n := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(n).Tag.Get("json"), ",")
		if name != "" && strings.EqualFold(name, key) {
			return n, name
		}
	}
	return -1, ""
}
