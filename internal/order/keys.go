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

// Repeated returns a fault for each field of v's type, a struct, that raw has
// more than once, also if the names differ in case only: the decoder would
// take the last without a word, and another reader of the same message may
// take the first. raw must be JSON that decodes into v; what v does not know
// may be there as often as it likes.
func Repeated(raw []byte, v any) []FieldError {
	r := reader{}
	r.read(raw, 0, reflect.TypeOf(v), "")
	return r.faults
}

// Tolerant is Repeated for an event that may say more than we know. It also has
// whole numbers written as the decoder wants them, and refuses others where the
// type has an integer, as Strict does.
func Tolerant(raw []byte, v any) (decodable []byte, faults []FieldError) {
	if !json.Valid(raw) {
		return raw, nil
	}
	r := reader{numbers: true}
	r.read(raw, 0, reflect.TypeOf(v), "")
	return r.edited(raw), r.faults
}

// Strict compares JSON with v's type before it is decoded into that, and
// returns a fault for each field that the type does not have, that is spelled
// differently (the decoder takes AVAILABLE for available, past whatever checks
// available), or that appears more than once, and for each number that the
// field's type, an integer, cannot hold. At most maxFaults are returned.
//
// A whole number may be written as 2.0 or 2e0: in JSON Schema it is an integer
// then, for the decoder it is none. decodable is raw with such numbers as
// digits. What is not JSON, or has another form than v's type, is the decoder's
// to refuse: decodable is raw then, as far as that.
//
// v is a struct, or a pointer to one; embedded structs count as the decoder
// counts them. What decodes itself, as time.Time does, is left alone.
func Strict(raw []byte, v any) (decodable []byte, faults []FieldError) {
	if !json.Valid(raw) {
		return raw, nil
	}
	r := reader{strict: true, numbers: true}
	r.read(raw, 0, reflect.TypeOf(v), "")
	return r.edited(raw), r.faults
}

const (
	maxFaults = 20 // of one input: an answer is not longer than what was sent
	maxName   = 64 // characters of an unknown name that are repeated
)

// reader goes through JSON beside the type that it is for.
type reader struct {
	strict  bool // about names
	numbers bool // about integers
	faults  []FieldError
	edits   []edit // in the order in which they are in the JSON
}

// edit puts other text in the place of raw[from:to].
type edit struct {
	from, to int
	text     string
}

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

func (r *reader) fault(field, message string) {
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, FieldError{field, message})
	}
}

// read looks at a value that begins at from.
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

func (r *reader) object(raw []byte, from int, t reflect.Type, at string) {
	if at != "" {
		at += "."
	}
	fields := fieldsOf(t)
	seen := make([]string, len(fields)) // how each field was spelt at first
	told := make([]bool, len(fields))   // once is enough
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
		n := find(fields, key)
		if n < 0 {
			if r.strict {
				r.fault(at+short(key), "is unexpected: there is no field of this name")
			}
			continue
		}
		f := fields[n]
		switch {
		case told[n]:
		case seen[n] == "":
			seen[n] = cmp.Or(key, f.name)
			if r.strict && key != f.name {
				r.fault(at+key, fmt.Sprintf("is spelled differently: the field's name is %q", f.name))
			}
			r.read(value, from+int(dec.InputOffset())-len(value), f.of, at+f.name)
		default:
			told[n] = true
			message := "appears more than once"
			if seen[n] != key {
				message += fmt.Sprintf(": as %q and as %q", seen[n], key)
			}
			r.fault(at+f.name, message)
		}
	}
}

// integer has a whole number written as the decoder wants it.
func (r *reader) integer(raw []byte, from int, t reflect.Type, at string) {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return // it is no number
	}
	digits, whole := Whole(string(raw))
	switch {
	case !whole:
		r.fault(at, "must be a whole number")
	case json.Unmarshal([]byte(digits), reflect.New(t).Interface()) != nil:
		r.fault(at, "is a number out of range")
	case digits != string(raw):
		r.edits = append(r.edits, edit{from, from + len(raw), digits})
	}
}

// field is one of those that the decoder would fill.
type field struct {
	name string
	of   reflect.Type
}

// fieldsOf are a struct's fields, also those of embedded structs.
func fieldsOf(t reflect.Type) (all []field) {
	for i := range t.NumField() {
		f := t.Field(i)
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
			all = append(all, field{cmp.Or(name, f.Name), f.Type})
		}
	}
	return all
}

// find is which field the decoder would put a key's value into, or -1.
func find(fields []field, key string) int {
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

func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(unmarshaler) || p.Implements(textUnmarshaler)
}

func isInteger(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Uintptr }

// short cuts a name that we do not know, which may be of any length.
func short(name string) string {
	if runes := []rune(name); len(runes) > maxName {
		return string(runes[:maxName]) + "…"
	}
	return name
}
