package order

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/text"
)

// Repeated returns a fault for each field of v's type, a struct, that raw has
// more than once, also if the names differ in case only: the decoder would
// take the last without a word, and another reader of the same message may
// take the first. raw must be JSON that decodes into v; what v does not know
// may be there as often as it likes.
func Repeated(raw []byte, v any) []FieldError { return reader{}.read(raw, reflect.TypeOf(v), "") }

// Strict is Repeated that also returns a fault for each field that v's type does
// not know, or that is spelled in another case.
func Strict(raw []byte, v any) []FieldError {
	return reader{strict: true}.read(raw, reflect.TypeOf(v), "")
}

type reader struct{ strict bool }

func (r reader) read(raw []byte, t reflect.Type, at string) (faults []FieldError) {
	switch {
	case t.Kind() == reflect.Pointer:
		return r.read(raw, t.Elem(), at)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return nil
		}
		for i, e := range list {
			faults = append(faults, r.read(e, t.Elem(), fmt.Sprintf("%s[%d]", at, i))...)
		}
		return faults
	case t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]():
		return r.object(raw, fieldsOf(t), at)
	default:
		return nil
	}
}

func (r reader) object(raw []byte, fields []reflect.StructField, at string) (faults []FieldError) {
	if at != "" {
		at += "."
	}
	seen := make([]string, len(fields)) // how each field was spelled at first
	told := make([]bool, len(fields))   // once is enough
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
		n := slices.IndexFunc(fields, func(f reflect.StructField) bool { return strings.EqualFold(nameOf(f), key) })
		switch {
		case n < 0 && r.strict:
			faults = append(faults, FieldError{at + text.Cut(key, MaxIDLength), "is not a field that is known here"})
		case n < 0 || told[n]:
		case seen[n] == "":
			seen[n] = key
			name := at + nameOf(fields[n])
			if r.strict && key != nameOf(fields[n]) {
				faults = append(faults, FieldError{name, fmt.Sprintf("is spelled %q", key)})
			}
			faults = append(faults, r.read(value, fields[n].Type, name)...)
		default:
			told[n] = true
			message := "appears more than once"
			if seen[n] != key {
				message += fmt.Sprintf(": as %q and as %q", seen[n], key)
			}
			faults = append(faults, FieldError{at + nameOf(fields[n]), message})
		}
	}
	return faults
}

// fieldsOf lists the fields that the decoder fills, those of embedded structs
// among them.
func fieldsOf(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return nameOf(f) == "" || nameOf(f) == "-" })
}

func nameOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
