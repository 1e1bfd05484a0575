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

// newItem returns the item on which expressions are evaluated.
func newItem() attr.Item {
	return attr.Item{
		"a": {Kind: attr.N, Str: "5"}, "s": {Kind: attr.S, Str: "text"}, "l": {Kind: attr.L, List: []attr.Value{{Kind: attr.N, Str: "1"}}},
		"m": {Kind: attr.M, Map: attr.Item{"k": {Kind: attr.S, Str: "v"}}}, "ss": {Kind: attr.SS, Set: []string{"x"}},
	}
}

var item = newItem()

// expected reports whether err is nil or an error that is returned to clients.
func expected(err error) bool {
	_, syntax := errors.AsType[*SyntaxError](err)
	_, invalid := errors.AsType[*attr.ValidationError](err)
	return err == nil || syntax || invalid
}

// FuzzCondition checks that parser and evaluator never panic, and that a parsed condition
// prints as an expression that parses to the same condition.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{
		"a = :n", "NOT (a < :n OR s <> :s) AND attribute_exists(m.k)", "a BETWEEN :n AND :n", "s IN (:s, :t)", "size(l) > :n",
		"contains(s, :s)", "attribute_type(a, :t)", "begins_with(#x.y[3].z, :s)", "((((a=a))))", "", "AND", "a = = b",
		"l[99999999999999999999] = :n", "not a = :n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCondition(text)
		if err != nil {
			if !expected(err) {
				t.Fatalf("parsing %q failed with a %T, want a *SyntaxError: %v", text, err, err)
			}
			return
		}
		again, err := ParseCondition(c.String())
		if err != nil || again.String() != c.String() {
			t.Fatalf("%q prints as %q, which parses to %v (error %v), want no change", text, c, again, err)
		}
		b := Binding{Names: map[string]string{"#x": "m"}, Values: values}
		first, err1 := c.Matches(item, b)
		second, err2 := again.Matches(item, b)
		if first != second || (err1 == nil) != (err2 == nil) || !expected(err1) {
			t.Fatalf("%q matches = %v (%T %v); printed and parsed again %v (%T %v), want the same, and no errors but those for clients",
				text, first, err1, err1, second, err2, err2)
		}
	})
}

// FuzzUpdate checks the same for update expressions, and that an update never changes the
// item that it is applied to.
func FuzzUpdate(f *testing.F) {
	for _, s := range []string{
		"SET a = :n", "SET a = a + :n, m.k = if_not_exists(m.x, :s) REMOVE l[0]", "ADD a :n DELETE ss :s", "SET l = list_append(l, :l)",
		"SET", "REMOVE a, a", "SET a.b = :n, a = :n", "set a=:n remove s", "SET #x = :s",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseUpdate(text)
		if err != nil {
			if !expected(err) {
				t.Fatalf("parsing %q failed with a %T, want a *SyntaxError: %v", text, err, err)
			}
			return
		}
		again, err := ParseUpdate(u.String())
		if err != nil || again.String() != u.String() {
			t.Fatalf("%q prints as %q, which parses to %v (error %v), want no change", text, u, again, err)
		}
		b := Binding{Names: map[string]string{"#x": "m"}, Values: values}
		_, err1 := u.Apply(item, b)
		if !expected(err1) {
			t.Fatalf("applying %q failed with a %T, which is not returned to clients: %v", text, err1, err1)
		}
		if !reflect.DeepEqual(item, newItem()) {
			t.Fatalf("%q changed the item that it was applied to: %v, want %v", text, item, newItem())
		}
	})
}
