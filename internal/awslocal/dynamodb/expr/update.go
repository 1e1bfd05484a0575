package expr

import (
	"maps"
	"slices"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
)

var (
	errNoPath    = &attr.ValidationError{Message: "The document path provided in the update expression is invalid for update"}
	errOperand   = &attr.ValidationError{Message: "An operand in the update expression has an incorrect data type"}
	errNoOperand = &attr.ValidationError{Message: "The provided expression refers to an attribute that does not exist in the item"}
)

// Apply returns a copy of the item with the update made. Like DynamoDB it reads all operands
// from the old item, which may be nil. An operand of the wrong type, or a path that does not
// exist, is an *attr.ValidationError.
func (u *Update) Apply(old attr.Item, b Binding) (attr.Item, error) {
	item := maps.Clone(old)
	if item == nil {
		item = attr.Item{}
	}
	for _, a := range u.set {
		v, ok, err := b.value(old, a.left)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, errNoOperand
		}
		if a.op != "" {
			w, ok, err := b.value(old, a.right)
			if err != nil {
				return nil, err
			}
			if !ok {
				return nil, errNoOperand
			}
			if v.Kind != attr.N || w.Kind != attr.N {
				return nil, errOperand
			}
			v, err = v.Add(w, a.op == "-")
			if err != nil {
				return nil, err
			}
		}
		if err := b.put(item, a.path, &v); err != nil {
			return nil, err
		}
	}
	if err := u.addTo(item, old, b); err != nil {
		return nil, err
	}
	// Remove last, and from the end of a list, so that indexes refer to the old list.
	remove := slices.Clone(u.remove)
	slices.SortStableFunc(remove, func(x, y Path) int { return y[len(y)-1].Index - x[len(x)-1].Index })
	for _, p := range remove {
		if err := b.put(item, p, nil); err != nil {
			return nil, err
		}
	}
	return item, nil
}

// addTo makes the changes of the ADD and DELETE clauses in item.
func (u *Update) addTo(item, old attr.Item, b Binding) error {
	for _, c := range u.add {
		v := b.Values[c.value]
		if v.Kind != attr.N && !v.Kind.IsSet() {
			return invalid("Incorrect operand type for operator or function; operator: ADD, operand type: %s", v.Kind)
		}
		if was, ok := b.lookup(old, c.path); ok {
			switch {
			case was.Kind != v.Kind:
				return errOperand
			case v.Kind == attr.N:
				sum, err := was.Add(v, false)
				if err != nil {
					return err
				}
				v = sum
			default:
				v = was.Union(v)
			}
		}
		if err := b.put(item, c.path, &v); err != nil {
			return err
		}
	}
	for _, c := range u.del {
		v := b.Values[c.value]
		if !v.Kind.IsSet() {
			return invalid("Incorrect operand type for operator or function; operator: DELETE, operand type: %s", v.Kind)
		}
		was, ok := b.lookup(old, c.path)
		if !ok {
			continue
		}
		if was.Kind != v.Kind {
			return errOperand
		}
		rest := was.Minus(v)
		set := &rest
		if len(rest.Set) == 0 { // DynamoDB has no empty sets: remove the attribute
			set = nil
		}
		if err := b.put(item, c.path, set); err != nil {
			return err
		}
	}
	return nil
}

// put sets the value at a path of item, or removes it if v is nil. It copies the maps and
// lists on the path, because the old item shares them.
func (b Binding) put(item attr.Item, p Path, v *attr.Value) error {
	name := b.name(p[0].Name)
	if len(p) == 1 {
		if v == nil {
			delete(item, name)
		} else {
			item[name] = *v
		}
		return nil
	}
	parent, ok := item[name]
	if !ok {
		return errNoPath
	}
	changed, err := b.putIn(parent, p[1:], v)
	item[name] = changed
	return err
}

// putIn returns a copy of parent, a map or list, with v put at path p.
func (b Binding) putIn(parent attr.Value, p Path, v *attr.Value) (attr.Value, error) {
	s := p[0]
	switch {
	case s.Name != "" && parent.Kind == attr.M:
		m := maps.Clone(parent.Map)
		err := b.put(m, p, v)
		return attr.Value{Kind: attr.M, Map: m}, err
	case s.Name == "" && parent.Kind == attr.L:
		list := slices.Clone(parent.List)
		switch {
		case len(p) > 1:
			if s.Index >= len(list) {
				return parent, errNoPath
			}
			changed, err := b.putIn(list[s.Index], p[1:], v)
			list[s.Index] = changed
			return attr.Value{Kind: attr.L, List: list}, err
		case v == nil:
			if s.Index < len(list) {
				list = slices.Delete(list, s.Index, s.Index+1)
			}
		case s.Index < len(list):
			list[s.Index] = *v
		default: // an index past the end appends
			list = append(list, *v)
		}
		return attr.Value{Kind: attr.L, List: list}, nil
	}
	return parent, errNoPath
}

// Attributes returns the names of the top-level attributes that the update changes.
func (u *Update) Attributes(b Binding) []string {
	var out []string
	add := func(p Path) { out = append(out, b.name(p[0].Name)) }
	for _, a := range u.set {
		add(a.path)
	}
	for _, p := range u.remove {
		add(p)
	}
	for _, c := range u.add {
		add(c.path)
	}
	for _, c := range u.del {
		add(c.path)
	}
	return out
}
