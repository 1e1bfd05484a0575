// Package attr implements DynamoDB's attribute values: their JSON form, comparison, size, and
// numbers of up to 38 digits.
package attr

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// Kind is the type of an attribute value. The zero value is None.
type Kind uint8

// The kinds of values. Their names are those of the API.
const (
	None Kind = iota // no value
	S                // string
	N                // number
	B                // binary
	Bool
	Null
	M  // map
	L  // list
	SS // string set
	NS // number set
	BS // binary set
)

var kindNames = [...]string{
	None: "", S: "S", N: "N", B: "B", Bool: "BOOL", Null: "NULL", M: "M", L: "L", SS: "SS", NS: "NS", BS: "BS",
}

// String returns the kind's name in the API's JSON, such as "BOOL".
func (k Kind) String() string { return kindNames[k] }

// KindOf returns the kind with that name in the API's JSON, or None.
func KindOf(name string) Kind {
	for k, n := range kindNames {
		if n == name {
			return Kind(k)
		}
	}
	return None
}

// Value is an attribute value. It must not be modified once it is stored, because items
// share their parts. The zero value is no value.
type Value struct {
	Kind Kind
	Flag bool     // the value of Bool
	Str  string   // the value of S; of N, in canonical form; of B, as bytes
	List []Value  // the value of L
	Map  Item     // the value of M
	Set  []string // the value of SS, NS, BS: sorted, without duplicates
}

// Item is a map from attribute names to values. A nil Item stands for no item.
type Item map[string]Value

// String returns an S value.
func String(s string) Value { return Value{Kind: S, Str: s} }

// Int returns an N value.
func Int(n int) Value { return Value{Kind: N, Str: strconv.Itoa(n)} }

// Equal reports whether two values are deeply equal. Numbers are compared by value, because
// they are in canonical form.
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

// Equal reports whether two items are deeply equal.
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

// Compare returns −1, 0 or +1 for two values of the same kind S, B or N: strings and binaries
// are ordered by their bytes, numbers by value. ok is false for all other values.
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

// Size returns the value's size in bytes, as DynamoDB counts it; see
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

// Size returns the item's size in bytes: the sum of its names and values.
func (i Item) Size() int {
	n := 0
	for k, v := range i {
		n += len(k) + v.Size()
	}
	return n
}

// Contains implements the contains function. It reports whether o is an element of the list or
// set v, or a part of the string or binary v.
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

// elementOf returns the kind of a set's elements.
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

// IsSet reports whether the kind is a set.
func (k Kind) IsSet() bool { return k == SS || k == NS || k == BS }

// Union returns the elements of v and of o, two sets of the same kind.
func (v Value) Union(o Value) Value {
	return Value{Kind: v.Kind, Set: sortedSet(append(slices.Clone(v.Set), o.Set...))}
}

// Minus returns the elements of the set v that are not in the set o.
func (v Value) Minus(o Value) Value {
	var out []string
	for _, s := range v.Set {
		if !slices.Contains(o.Set, s) {
			out = append(out, s)
		}
	}
	return Value{Kind: v.Kind, Set: out}
}

// sortedSet sorts s in place and removes duplicates.
func sortedSet(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// AppendJSON appends the value in the API's form, such as {"S":"x"}, to b and returns the
// result. str appends a JSON string.
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

// AppendJSON appends the item in the API's form to b and returns the result. str appends a
// JSON string.
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

// skipSpace returns the index of the first byte at or after i that is not white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && bytes.IndexByte(jsonSpace, b[i]) >= 0 {
		i++
	}
	return i
}
