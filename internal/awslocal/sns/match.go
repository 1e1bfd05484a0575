package sns

import (
	"encoding/json"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// MatchAttributes applies a policy of scope MessageAttributes. A message that has
// none meets no policy, also not {"exists": false}; see
// https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
func (f *Filter) MatchAttributes(attrs map[string]wire.MessageAttribute) bool {
	return len(attrs) > 0 && f.root.match(func(name string) ([]any, bool) {
		a, ok := attrs[name]
		if !ok {
			return nil, false
		}
		return attributeValues(a), true
	}, nil)
}

// attributeValues is what a policy sees of an attribute: the elements of a
// String.Array, a Number as a number, nothing of a Binary.
func attributeValues(a wire.MessageAttribute) []any {
	switch {
	case a.Binary():
		return []any{}
	case a.DataType == "String.Array":
		if v, err := decode(a.StringValue); err == nil {
			if list, ok := v.([]any); ok {
				return list
			}
		}
		return []any{a.StringValue}
	case a.DataType == "Number" || len(a.DataType) > 7 && a.DataType[:7] == "Number.":
		return []any{json.Number(a.StringValue)}
	}
	return []any{a.StringValue}
}

// MatchBody applies a policy of scope MessageBody; a body that is no JSON
// object matches nothing.
func (f *Filter) MatchBody(body string) bool {
	v, err := decode(body)
	if err != nil {
		return false
	}
	o, ok := v.(map[string]any)
	return ok && f.root.matchObject(o)
}

func (g *group) matchObject(o map[string]any) bool {
	return g.match(func(name string) ([]any, bool) {
		v, ok := o[name]
		if list, isList := v.([]any); isList {
			return list, true
		}
		return []any{v}, ok
	}, o)
}

// match asks values for each field; o is the object they are in, nil for
// attributes.
func (g *group) match(values func(string) ([]any, bool), o map[string]any) bool {
	for i := range g.fields {
		f := &g.fields[i]
		if f.deep != nil {
			if !matchDeep(f.deep, o[f.name]) {
				return false
			}
			continue
		}
		vals, there := values(f.name)
		if !anyMatches(f.match, vals, there) {
			return false
		}
	}
	for _, or := range g.or {
		held := false
		for i := range or {
			if held = or[i].match(values, o); held {
				break
			}
		}
		if !held {
			return false
		}
	}
	return true
}

// matchDeep matches an object, or any object of a list. A missing one is
// matched as empty, so that {"exists": false} inside can hold.
func matchDeep(g *group, v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return g.matchObject(v)
	case []any:
		for _, e := range v {
			if o, ok := e.(map[string]any); ok && g.matchObject(o) {
				return true
			}
		}
		return false
	case nil:
		return g.matchObject(map[string]any{})
	}
	return false
}

func anyMatches(ms []matcher, values []any, there bool) bool {
	// To exist is to have "a non-null and non-empty value"; see
	// https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
	exists := there && !(len(values) == 1 && (values[0] == nil || values[0] == ""))
	for _, m := range ms {
		if m.exists != nil {
			if *m.exists == exists {
				return true
			}
			continue
		}
		if !there {
			continue
		}
		if m.always { // anything-but: no value may be one of those
			all := len(values) > 0
			for _, v := range values {
				all = all && m.test(v)
			}
			if all {
				return true
			}
			continue
		}
		for _, v := range values {
			if m.test(v) {
				return true
			}
		}
	}
	return false
}
