package order

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Repeated returns a fault for each field of v's type, a struct, that raw contains more than
// once, also in a different case. encoding/json silently uses the last one, and another
// reader of the same message may use the first. raw must be JSON that decodes into v. Fields
// that v does not have may be repeated.
func Repeated(raw []byte, v any) []FieldError {
	r := reader{}
	r.read(raw, 0, reflect.TypeOf(v), "")
	return r.faults
}

// Tolerant checks an event that may have unknown fields. It returns the faults of Repeated,
// and, as Strict does, a fault for each number that an integer field cannot hold, and raw
// with whole numbers in the form that encoding/json accepts.
func Tolerant(raw []byte, v any) (decodable []byte, faults []FieldError) {
	if !json.Valid(raw) {
		return raw, nil
	}
	r := reader{numbers: true}
	r.read(raw, 0, reflect.TypeOf(v), "")
	return r.edited(raw), r.faults
}

// Strict compares JSON with v's type before it is decoded, and returns at most 20 faults. A
// fault is a field that
//   - the type does not have,
//   - is spelled in another case: encoding/json decodes AVAILABLE into available, past any
//     check of the name,
//   - appears more than once, or
//   - is a number that the field's integer type cannot hold.
//
// A whole number may be written as 2.0 or 2e0: for JSON Schema it is an integer, for
// encoding/json it is not. decodable is raw with such numbers as digits. Strict does not
// report invalid JSON and values of other types: the decoder does.
//
// v is a struct or a pointer to one. Embedded structs are treated as encoding/json does.
// Values with their own decoder, such as time.Time, are not checked.
func Strict(raw []byte, v any) (decodable []byte, faults []FieldError) {
	if !json.Valid(raw) {
		return raw, nil
	}
	r := reader{strict: true, numbers: true}
	r.read(raw, 0, reflect.TypeOf(v), "")
	return r.edited(raw), r.faults
}

const (
	maxFaults = 20 // of one input: a response must not be longer than the request
	maxName   = 64 // characters of an unknown name in a fault
)

// reader compares JSON with the type that it will be decoded into.
type reader struct {
	strict  bool // report unknown and misspelled names
	numbers bool // report and rewrite numbers of integer fields
	faults  []FieldError
	edits   []edit // in the order of their positions
}

// edit replaces raw[from:to].
type edit struct {
	from, to int
	text     string
}

// edited returns raw with all edits.
func (r *reader) edited(raw []byte) []byte {
	if len(r.edits) == 0 {
		return raw
	}
	var b bytes.Buffer
	at := 0
	for _, e := range r.edits {
		b.Write(raw[at:e.from])
		b.WriteString(e.text)
		at = e.to
	}
	b.Write(raw[at:])
	return b.Bytes()
}

// fault adds a fault, unless there are too many.
func (r *reader) fault(field, message string) {
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, FieldError{Field: field, Message: message})
	}
}

// read checks a value that starts at from, against t. at is its JSON path.
func (r *reader) read(raw []byte, from int, t reflect.Type, at string) {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || decodesItself(t) || len(r.faults) >= maxFaults {
		return
	}
	switch kind := t.Kind(); {
	case kind == reflect.Struct:
		r.object(raw, from, t, at)
	case kind == reflect.Slice || kind == reflect.Array:
		r.list(raw, from, t.Elem(), at)
	case r.numbers && isInteger(kind):
		r.integer(raw, from, t, at)
	}
}

// list checks the elements of an array.
func (r *reader) list(raw []byte, from int, t reflect.Type, at string) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return
	}
	for i := 0; dec.More(); i++ {
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return
		}
		r.read(value, from+int(dec.InputOffset())-len(value), t, fmt.Sprintf("%s[%d]", at, i))
	}
}

// object checks the fields of an object.
func (r *reader) object(raw []byte, from int, t reflect.Type, at string) {
	if at != "" {
		at += "."
	}
	fields := fieldsOf(t)
	seen := make([]string, len(fields))   // the first spelling of each field
	reported := make([]bool, len(fields)) // as repeated
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return
	}
	for dec.More() {
		token, err := dec.Token()
		key, ok := token.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return
		}
		n := indexOf(fields, key)
		if n < 0 {
			if r.strict {
				r.fault(at+short(key), "is unexpected: there is no field of this name")
			}
			continue
		}
		f := fields[n]
		switch {
		case reported[n]:
		case seen[n] == "":
			seen[n] = cmp.Or(key, f.name)
			if r.strict && key != f.name {
				r.fault(at+key, fmt.Sprintf("is spelled differently: the field's name is %q", f.name))
			}
			r.read(value, from+int(dec.InputOffset())-len(value), f.of, at+f.name)
		default:
			reported[n] = true
			message := "appears more than once"
			if seen[n] != key {
				message += fmt.Sprintf(": as %q and as %q", seen[n], key)
			}
			r.fault(at+f.name, message)
		}
	}
}

// integer checks a number of an integer field, and rewrites it to digits.
func (r *reader) integer(raw []byte, from int, t reflect.Type, at string) {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return // not a number
	}
	digits, whole := Whole(string(raw))
	switch {
	case !whole:
		r.fault(at, "must be a whole number")
	case json.Unmarshal([]byte(digits), reflect.New(t).Interface()) != nil:
		r.fault(at, "is a number out of range")
	case digits != string(raw):
		r.edits = append(r.edits, edit{from: from, to: from + len(raw), text: digits})
	}
}

// field is a field that the decoder would set.
type field struct {
	name string
	of   reflect.Type
}

// fieldsOf returns a struct's fields, those of embedded structs included.
func fieldsOf(t reflect.Type) (all []field) {
	for f := range t.Fields() {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case tag == "-":
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			all = append(all, fieldsOf(inner)...)
		case f.IsExported():
			all = append(all, field{name: cmp.Or(name, f.Name), of: f.Type})
		}
	}
	return all
}

// indexOf returns the index of the field that the decoder would decode a key's value into, or
// -1.
func indexOf(fields []field, key string) int {
	folded := -1
	for n, f := range fields {
		if f.name == key {
			return n
		}
		if folded < 0 && strings.EqualFold(f.name, key) {
			folded = n
		}
	}
	return folded
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// decodesItself reports whether a type has its own decoder.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(unmarshaler) || p.Implements(textUnmarshaler)
}

func isInteger(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Uintptr }

// short limits the length of an unknown name.
func short(name string) string {
	if runes := []rune(name); len(runes) > maxName {
		return string(runes[:maxName]) + "…"
	}
	return name
}
