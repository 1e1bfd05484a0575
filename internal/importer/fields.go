package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ordersaga/ordersaga/internal/order"
)

// fields is an object of the shop's order. It records which of its fields have been read. A nil
// *fields is an absent object; all methods accept it.
type fields struct {
	c        *conversion
	at       string // its path, with a final dot
	raw      map[string]json.RawMessage
	read     map[string]bool
	children []*fields
}

// parse parses a document, which must be one object.
func (c *conversion) parse(raw []byte, at string) *fields {
	if !utf8.Valid(raw) {
		c.wrong("body", "is not UTF-8")
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	var one json.RawMessage
	err := dec.Decode(&one)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is data after the JSON value; convert one order at a time")
		}
	}
	var f *fields
	if err == nil {
		f, err = c.object(one, at)
	}
	if err != nil {
		c.wrong("body", "is not a shop's order in JSON: %v", err)
		return nil
	}
	return f
}

// object parses one object.
func (c *conversion) object(raw json.RawMessage, at string) (*fields, error) {
	f := &fields{c: c, at: at, raw: map[string]json.RawMessage{}, read: map[string]bool{}}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("must be a JSON object")
	}
	for dec.More() {
		token, err := dec.Token()
		key, _ := token.(string)
		var value json.RawMessage
		if err = errors.Join(err, dec.Decode(&value)); err != nil {
			return nil, fmt.Errorf("%s%s: %w", at, key, err)
		}
		if _, twice := f.raw[key]; twice { // readers differ in which one they use
			c.wrong(at+key, "appears more than once")
		}
		f.raw[key] = value
	}
	return f, nil
}

// value reads a field; nil if it is absent or null.
func (f *fields) value(key string) json.RawMessage {
	if f == nil {
		return nil
	}
	f.read[key] = true
	if v := f.raw[key]; string(v) != "null" {
		return v
	}
	return nil
}

// decode reads a field into a value. kind describes the type in the error.
func (f *fields) decode(key, kind string, into any) {
	if v := f.value(key); v != nil && json.Unmarshal(v, into) != nil {
		f.c.wrong(f.at+key, "must be %s", kind)
	}
}

// text reads a string; "" if it is absent.
func (f *fields) text(key string) (s string) {
	f.decode(key, "a string", &s)
	return s
}

// number reads a number, or a string with one: shops write amounts and ids either way.
func (f *fields) number(key string) string {
	if v := f.value(key); len(v) > 0 && v[0] == '"' {
		return f.text(key)
	}
	var n json.Number
	f.decode(key, "a number, or a string with one", &n)
	return n.String()
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// digits returns a whole number without fraction and exponent, and anything else unchanged.
func digits(number string) string {
	if jsonNumber.MatchString(number) {
		number, _ = order.Whole(number)
	}
	return number
}

// id reads a numeric id as digits, so that 7, 7.0 and 7e0 are the same order; "" if it is absent.
func (f *fields) id(key string) string {
	number := f.number(key)
	id := digits(number)
	n, err := strconv.ParseInt(id, 10, 64)
	if number != "" && (err != nil || n < 1 || strconv.FormatInt(n, 10) != id) {
		f.c.wrong(f.at+key, "is %.100q, must be a whole number above 0", number)
	}
	return id
}

// idOrZero reads an id; "" for 0, with which the shop means none.
func (f *fields) idOrZero(key string) string {
	if digits(f.number(key)) == "0" {
		return ""
	}
	return f.id(key)
}

// whole reads a whole number, which may be written as 2.0.
func (f *fields) whole(key string) (n int64) {
	v := f.value(key)
	if len(v) > 0 && (v[0] == '-' || '0' <= v[0] && v[0] <= '9') {
		if digits, ok := order.Whole(string(v)); ok {
			v = json.RawMessage(digits)
		}
	}
	if v != nil && json.Unmarshal(v, &n) != nil {
		f.c.wrong(f.at+key, "must be a whole number")
	}
	return n
}

// flag reads a boolean; false if it is absent.
func (f *fields) flag(key string) (b bool) {
	f.decode(key, "true or false", &b)
	return b
}

// time reads an RFC 3339 time; zero if it is absent.
func (f *fields) time(key string) (t time.Time) {
	f.decode(key, "a time such as 2026-11-23T10:00:00Z", &t)
	return t
}

// object reads an object; nil if it is absent.
func (f *fields) object(key string) *fields {
	v := f.value(key)
	if v == nil || string(v) == "[]" { // PHP encodes an empty object like this
		return nil
	}
	o, err := f.c.object(v, f.at+key+".")
	if err != nil {
		f.c.wrong(f.at+key, "%v", err)
		return nil
	}
	f.children = append(f.children, o)
	return o
}

// wrapped returns the object in a field as if it were the whole order, or f if it is absent.
func (f *fields) wrapped(key string) *fields {
	v := f.value(key)
	if v == nil {
		return f
	}
	inner, err := f.c.object(v, "")
	if err != nil {
		f.c.wrong(key, "%v", err)
		return f
	}
	f.children = append(f.children, inner)
	return inner
}

// list reads the objects of an array.
func (f *fields) list(key string) (list []*fields) {
	var all []json.RawMessage
	f.decode(key, "a list", &all)
	for i, v := range all {
		o, err := f.c.object(v, fmt.Sprintf("%s%s[%d].", f.at, key, i))
		if err != nil {
			f.c.wrong(fmt.Sprintf("%s%s[%d]", f.at, key, i), "%v", err)
			continue
		}
		list = append(list, o)
	}
	if f != nil {
		f.children = append(f.children, list...)
	}
	return list
}

// skip ignores fields without a note: ids and times of the shop, copies of other fields, and what
// other fields are computed from.
func (f *fields) skip(keys ...string) {
	for _, key := range keys {
		f.value(key)
	}
}

// skipAll ignores all fields that have not been read.
func (f *fields) skipAll() {
	if f != nil {
		f.skip(slices.Collect(maps.Keys(f.raw))...)
	}
}

var zero = regexp.MustCompile(`^("?[-+]?0*(\.0*)?"?|false|null|\[\s*\]|\{\s*\})$`)

// has reports whether a field has a value other than null, an empty one, 0 and false.
func (f *fields) has(key string) bool {
	v := f.value(key)
	return v != nil && !zero.Match(v)
}

// written reports whether a field has a value that a customer may have entered: unlike for has,
// 0 is one, such as the number on a shirt.
func (f *fields) written(key string) bool {
	switch string(f.value(key)) {
	case "", `""`, "[]", "{}", "false":
		return false
	}
	return true
}

// noPlace refuses the order because of fields that have a value.
func (f *fields) noPlace(why string, keys ...string) {
	for _, key := range keys {
		if f.has(key) {
			f.c.noPlace(f.at+key, why)
		}
	}
}

// only refuses the order if a text is not among those allowed.
func (f *fields) only(key, why string, allowed ...string) {
	if s := f.text(key); !slices.Contains(allowed, s) {
		f.c.wrong(f.at+key, "is %.100q: %s", s, why)
	}
}

// rest notes all fields with a value that were not read.
func (f *fields) rest() {
	for _, key := range slices.Sorted(maps.Keys(f.raw)) {
		if !f.read[key] && f.has(key) {
			f.c.note(f.at+key, "has no counterpart and is left out")
		}
	}
	for _, child := range f.children {
		child.rest()
	}
}
