package expr

import (
	"fmt"
	"slices"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
)

// Binding defines the placeholders of a request's expressions.
type Binding struct {
	Names  map[string]string // attribute names by placeholder, with its "#"
	Values attr.Item         // values by placeholder, with its ":"
}

// name resolves a name or a placeholder of one.
func (b Binding) name(s string) string {
	if s != "" && s[0] == '#' {
		return b.Names[s]
	}
	return s
}

// Mentions reports whether the condition refers to the top-level attribute.
func (c *Condition) Mentions(b Binding, name string) bool { return b.mentions(c.root, name) }

func (b Binding) mentions(n node, name string) bool {
	var in func(o operand) bool
	in = func(o operand) bool {
		return len(o.path) > 0 && b.name(o.path[0].Name) == name || slices.ContainsFunc(o.args, in)
	}
	return slices.ContainsFunc(n.args, in) || slices.ContainsFunc(n.children, func(k node) bool { return b.mentions(k, name) })
}

// lookup returns the value at a path of an item, and whether it exists.
func (b Binding) lookup(item attr.Item, p Path) (attr.Value, bool) {
	v, ok := item[b.name(p[0].Name)]
	for _, s := range p[1:] {
		if !ok {
			break
		}
		switch {
		case s.Name == "" && v.Kind == attr.L && s.Index < len(v.List):
			v = v.List[s.Index]
		case s.Name != "" && v.Kind == attr.M:
			v, ok = v.Map[b.name(s.Name)]
		default:
			ok = false
		}
	}
	return v, ok
}

// value evaluates an operand. The boolean is false if the operand has no value, because an
// attribute is missing or has the wrong type.
func (b Binding) value(item attr.Item, o operand) (attr.Value, bool, error) {
	switch {
	case o.fn == "size":
		v, ok := b.lookup(item, o.args[0].path)
		if !ok {
			return v, false, nil
		}
		n, ok := size(v)
		return attr.Int(n), ok, nil
	case o.fn == "if_not_exists":
		if v, ok := b.lookup(item, o.args[0].path); ok {
			return v, true, nil
		}
		return b.value(item, o.args[1])
	case o.fn == "list_append":
		x, ok1, err1 := b.value(item, o.args[0])
		y, ok2, err2 := b.value(item, o.args[1])
		if err1 != nil || err2 != nil {
			return x, false, firstError(err1, err2)
		}
		if !ok1 || !ok2 {
			return x, false, nil
		}
		if x.Kind != attr.L || y.Kind != attr.L {
			return x, false, invalid("An operand in the update expression has an incorrect data type")
		}
		return attr.Value{Kind: attr.L, List: append(slices.Clone(x.List), y.List...)}, true, nil
	case o.value != "":
		v, ok := b.Values[o.value]
		return v, ok, nil
	}
	v, ok := b.lookup(item, o.path)
	return v, ok, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// size implements the size function. The boolean is false for a type that has no size.
func size(v attr.Value) (int, bool) {
	switch v.Kind {
	case attr.S, attr.B:
		return len(v.Str), true
	case attr.L:
		return len(v.List), true
	case attr.M:
		return len(v.Map), true
	case attr.SS, attr.NS, attr.BS:
		return len(v.Set), true
	default:
		return 0, false
	}
}

func invalid(format string, args ...any) error {
	return &attr.ValidationError{Message: fmt.Sprintf(format, args...)}
}

// Matches evaluates the condition on an item; a nil item has no attributes. An operand of
// the wrong type can be an *attr.ValidationError.
func (c *Condition) Matches(item attr.Item, b Binding) (bool, error) { return b.eval(item, c.root) }

func (b Binding) eval(item attr.Item, n node) (bool, error) {
	switch n.op {
	case "AND":
		left, err := b.eval(item, n.children[0])
		if err != nil || !left {
			return false, err
		}
		return b.eval(item, n.children[1])
	case "OR":
		left, err := b.eval(item, n.children[0])
		if err != nil || left {
			return left, err
		}
		return b.eval(item, n.children[1])
	case "NOT":
		inner, err := b.eval(item, n.children[0])
		return !inner, err
	case "attribute_exists":
		_, ok := b.lookup(item, n.args[0].path)
		return ok, nil
	case "attribute_not_exists":
		_, ok := b.lookup(item, n.args[0].path)
		return !ok, nil
	}
	vals := make([]attr.Value, len(n.args))
	for i, a := range n.args {
		v, ok, err := b.value(item, a)
		if err != nil {
			return false, err
		}
		if !ok {
			if n.op == "IN" && i > 0 {
				continue
			}
			// A missing attribute is unequal to every value, and any other comparison fails.
			return n.op == "<>" && i == 0, nil
		}
		vals[i] = v
	}
	return compare(n.op, vals)
}

// compare evaluates an operator or function on the values of its operands.
func compare(op string, v []attr.Value) (bool, error) {
	switch op {
	case "attribute_type":
		k := attr.KindOf(v[1].Str)
		if v[1].Kind != attr.S || k == attr.None {
			return false, invalid("Invalid attribute type name found; type: %s, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}", v[1].Str)
		}
		return v[0].Kind == k, nil
	case "begins_with":
		if v[1].Kind != attr.S && v[1].Kind != attr.B {
			return false, invalid("Incorrect operand type for operator or function; operator or function: begins_with, operand type: %s", v[1].Kind)
		}
		return v[0].Kind == v[1].Kind && len(v[0].Str) >= len(v[1].Str) && v[0].Str[:len(v[1].Str)] == v[1].Str, nil
	case "contains":
		return v[0].Contains(v[1]), nil
	case "=":
		return v[0].Equal(v[1]), nil
	case "<>":
		return !v[0].Equal(v[1]), nil
	case "IN":
		return slices.ContainsFunc(v[1:], v[0].Equal), nil
	case "BETWEEN":
		if c, ok := v[1].Compare(v[2]); ok && c > 0 {
			return false, invalid("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "+
				"lower bound operand: AttributeValue: {%s:%s}, upper bound operand: AttributeValue: {%s:%s}",
				v[1].Kind, v[1].Str, v[2].Kind, v[2].Str)
		}
		low, ok1 := v[0].Compare(v[1])
		high, ok2 := v[0].Compare(v[2])
		return ok1 && ok2 && low >= 0 && high <= 0, nil
	}
	c, ok := v[0].Compare(v[1])
	if !ok {
		return false, nil
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	default:
		return c >= 0, nil
	}
}
