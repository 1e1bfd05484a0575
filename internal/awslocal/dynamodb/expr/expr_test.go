package expr

import (
	"errors"
	"reflect"
	"testing"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
)

var values = map[string]attr.Value{
	":s": {Kind: attr.S, Str: "x"}, ":n": {Kind: attr.N, Str: "1"}, ":l": {Kind: attr.L}, ":t": {Kind: attr.S, Str: "SS"},
}

// fresh is the item that expressions are evaluated on.
func fresh() attr.Item {
	return attr.Item{
		"a": {Kind: attr.N, Str: "5"}, "s": {Kind: attr.S, Str: "text"}, "l": {Kind: attr.L, List: []attr.Value{{Kind: attr.N, Str: "1"}}},
		"m": {Kind: attr.M, Map: attr.Item{"k": {Kind: attr.S, Str: "v"}}}, "ss": {Kind: attr.SS, Set: []string{"x"}},
	}
}

var thing = fresh()

// known reports whether err is nil or one that clients are told.
func known(err error) bool {
	_, syntax := errors.AsType[*SyntaxError](err)
	_, invalid := errors.AsType[*attr.ValidationError](err)
	return err == nil || syntax || invalid
}

// FuzzCondition: the parser and the evaluator never panic; what parses prints
// as a text that parses to the same.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{"a = :n", "NOT (a < :n OR s <> :s) AND attribute_exists(m.k)", "a BETWEEN :n AND :n", "s IN (:s, :t)", "size(l) > :n",
		"contains(s, :s)", "attribute_type(a, :t)", "begins_with(#x.y[3].z, :s)", "((((a=a))))", "", "AND", "a = = b", "l[99999999999999999999] = :n", "not a = :n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCondition(text)
		if err != nil {
			if !known(err) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		again, err := ParseCondition(c.String())
		if err != nil || again.String() != c.String() {
			t.Fatalf("%q prints as %q, which is %v %v", text, c, again, err)
		}
		b := Binding{Names: map[string]string{"#x": "m"}, Values: values}
		first, err1 := c.Matches(thing, b)
		second, err2 := again.Matches(thing, b)
		if first != second || (err1 == nil) != (err2 == nil) || !known(err1) {
			t.Fatalf("%q: %v %v, printed and parsed again: %v %v", text, first, err1, second, err2)
		}
	})
}

// FuzzUpdate does the same for update expressions, and an update never changes
// the item it is given.
func FuzzUpdate(f *testing.F) {
	for _, s := range []string{"SET a = :n", "SET a = a + :n, m.k = if_not_exists(m.x, :s) REMOVE l[0]", "ADD a :n DELETE ss :s", "SET l = list_append(l, :l)",
		"SET", "REMOVE a, a", "SET a.b = :n, a = :n", "set a=:n remove s", "SET #x = :s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseUpdate(text)
		if err != nil {
			if !known(err) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		again, err := ParseUpdate(u.String())
		if err != nil || again.String() != u.String() {
			t.Fatalf("%q prints as %q, which is %v %v", text, u, again, err)
		}
		b := Binding{Names: map[string]string{"#x": "m"}, Values: values}
		_, err1 := u.Apply(thing, b)
		if !known(err1) {
			t.Fatalf("%T %v", err1, err1)
		}
		if !reflect.DeepEqual(thing, fresh()) {
			t.Fatalf("%q changed the item it was given to %v", text, thing)
		}
	})
}
