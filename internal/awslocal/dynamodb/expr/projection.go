package expr

import "github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"

// Apply returns a copy of the item with only the parts that the projection names.
func (p *Projection) Apply(item attr.Item, b Binding) attr.Item {
	out := attr.Item{}
	for _, path := range p.paths {
		if v, ok := b.lookup(item, path); ok {
			graft(out, b, path, v)
		}
	}
	return out
}

// graft puts v at path p of out, and creates the maps and lists on the path. A list has only
// the selected elements, without gaps.
func graft(out attr.Item, b Binding, p Path, v attr.Value) {
	name := b.name(p[0].Name)
	if len(p) == 1 {
		out[name] = v
		return
	}
	out[name] = graftIn(out[name], b, p[1:], v)
}

// graftIn is graft for a path that begins in a map or list.
func graftIn(into attr.Value, b Binding, p Path, v attr.Value) attr.Value {
	if p[0].Name != "" {
		if into.Kind != attr.M {
			into = attr.Value{Kind: attr.M, Map: attr.Item{}}
		}
		graft(into.Map, b, p, v)
		return into
	}
	if into.Kind != attr.L {
		into = attr.Value{Kind: attr.L}
	}
	if len(p) > 1 {
		v = graftIn(attr.Value{}, b, p[1:], v)
	}
	into.List = append(into.List, v)
	return into
}
