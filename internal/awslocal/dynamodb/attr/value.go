// Package attr is DynamoDB's attribute values: their JSON form, comparison,
// size, and 38-digit numbers.
package attr

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"slices"
	"strings"
)

// Kind is an attribute's type, as its JSON tag names it.
type Kind uint8

// Kinds of values; None is no value.
const (
	None Kind = iota
	S
	N
	B
	Bool
	Null
	M
	L
	SS
	NS
	BS
)

var kindNames = [...]string{None: "", S: "S", N: "N", B: "B", Bool: "BOOL", Null: "NULL", M: "M", L: "L", SS: "SS", NS: "NS", BS: "BS"}

func (k Kind) String() string { return kindNames[k] }

// KindOf is the inverse of Kind.String; None if there is none such.
func KindOf(name string) Kind {
	for k, n := range kindNames {
		if n == name {
			return Kind(k)
		}
	}
	return None
}

// Value is an attribute value. It is never changed once made, so that items
// can share parts.
type Value struct {
	Kind Kind
	Flag bool     // Bool
	Str  string   // S; N in canonical form; B as bytes
	List []Value  // L
	Map  Item     // M
	Set  []string // SS, NS, BS: sorted, distinct
}

// Item is a map of attributes.
type Item map[string]Value

// String makes an S value.
func String(s string) Value { return Value{Kind: S, Str: s} }

// Int makes an N value.
func Int(n int) Value { return Value{Kind: N, Str: formatInt(n)} }

// Equal reports deep equality; numbers compare by value, since they are kept
// in canonical form.
func (v Value) Equal(o Value) bool {
	if v.Kind != o.Kind {
		return false
	}
	switch v.Kind {
	case Bool:
		return v.Flag == o.Flag
	case L:
		return slices.EqualFunc(v.List, o.List, Value.Equal)
	case M:
		return v.Map.Equal(o.Map)
	case SS, NS, BS:
		return slices.Equal(v.Set, o.Set)
	case None, Null:
		return true
	default:
		return v.Str == o.Str
	}
}

// Equal reports deep equality.
func (i Item) Equal(o Item) bool {
	if len(i) != len(o) {
		return false
	}
	for k, v := range i {
		if w, ok := o[k]; !ok || !v.Equal(w) {
			return false
		}
	}
	return true
}

// Compare orders two values of one scalar kind: strings and bytes by their
// bytes, numbers by value. ok is false for all others.
func (v Value) Compare(o Value) (c int, ok bool) {
	if v.Kind != o.Kind {
		return 0, false
	}
	switch v.Kind {
	case S, B:
		return cmp.Compare(v.Str, o.Str), true
	case N:
		return compareNumbers(v.Str, o.Str), true
	default:
		return 0, false
	}
}

// Size is what DynamoDB counts, in bytes.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
func (v Value) Size() int {
	switch v.Kind {
	case S, B:
		return len(v.Str)
	case N:
		return (len(strings.TrimLeft(v.Str, "-0."))+1)/2 + 1
	case L:
		n := 3
		for _, e := range v.List {
			n += e.Size() + 1
		}
		return n
	case M:
		return 3 + v.Map.Size() + len(v.Map)
	case SS, NS, BS:
		n := 0
		for _, s := range v.Set {
			n += len(s)
		}
		return n
	default:
		return 1
	}
}

// Size is the sum over names and values.
func (i Item) Size() int {
	n := 0
	for k, v := range i {
		n += len(k) + v.Size()
	}
	return n
}

// Contains implements the contains function: an element of a list or set, or
// a part of a string or of bytes.
func (v Value) Contains(o Value) bool {
	switch v.Kind {
	case S, B:
		return o.Kind == v.Kind && strings.Contains(v.Str, o.Str)
	case L:
		return slices.ContainsFunc(v.List, o.Equal)
	case SS, NS, BS:
		_, found := slices.BinarySearch(v.Set, o.Str)
		return found && elementOf(v.Kind) == o.Kind
	default:
		return false
	}
}

func elementOf(set Kind) Kind {
	switch set {
	case SS:
		return S
	case NS:
		return N
	case BS:
		return B
	default:
		return None
	}
}

// IsSet reports whether the kind is one of the sets.
func (k Kind) IsSet() bool { return k == SS || k == NS || k == BS }

// Union and Minus work on two sets of one kind.
func (v Value) Union(o Value) Value {
	return Value{Kind: v.Kind, Set: sortedSet(append(slices.Clone(v.Set), o.Set...))}
}

// Minus is the elements of v that o lacks.
func (v Value) Minus(o Value) Value {
	var out []string
	for _, s := range v.Set {
		if !slices.Contains(o.Set, s) {
			out = append(out, s)
		}
	}
	return Value{Kind: v.Kind, Set: out}
}

func sortedSet(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// AppendJSON appends the value as the API writes it, e.g. {"S":"x"}.
func (v Value) AppendJSON(b []byte, str func([]byte, string) []byte) []byte {
	b = append(b, '{', '"')
	b = append(b, kindNames[v.Kind]...)
	b = append(b, '"', ':')
	switch v.Kind {
	case S, N:
		b = str(b, v.Str)
	case B:
		b = appendBase64(b, v.Str)
	case Bool:
		if v.Flag {
			b = append(b, "true"...)
		} else {
			b = append(b, "false"...)
		}
	case L:
		b = append(b, '[')
		for i, e := range v.List {
			if i > 0 {
				b = append(b, ',')
			}
			b = e.AppendJSON(b, str)
		}
		b = append(b, ']')
	case M:
		b = v.Map.AppendJSON(b, str)
	case SS, NS, BS:
		b = append(b, '[')
		for i, s := range v.Set {
			if i > 0 {
				b = append(b, ',')
			}
			if v.Kind == BS {
				b = appendBase64(b, s)
			} else {
				b = str(b, s)
			}
		}
		b = append(b, ']')
	default:
		b = append(b, "true"...)
	}
	return append(b, '}')
}

func appendBase64(b []byte, s string) []byte {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, []byte(s))
	return append(b, '"')
}

// AppendJSON appends the item as the API writes it.
func (i Item) AppendJSON(b []byte, str func([]byte, string) []byte) []byte {
	b = append(b, '{')
	first := true
	for k, v := range i {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = str(b, k)
		b = append(b, ':')
		b = v.AppendJSON(b, str)
	}
	return append(b, '}')
}

var jsonSpace = []byte(" \t\r\n")

func skipSpace(b []byte, i int) int {
	for i < len(b) && bytes.IndexByte(jsonSpace, b[i]) >= 0 {
		i++
	}
	return i
}
