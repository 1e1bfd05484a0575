package sns

import (
	"encoding/json"
	"slices"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// MatchAttributes reports whether the attributes of a message match a policy of scope
// MessageAttributes. A message without attributes matches no policy, not even
// {"exists": false}; see
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

// attributeValues returns the values that a policy compares: the elements of a
// String.Array, the number of a Number, no value of a Binary.
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

// MatchBody reports whether the body of a message matches a policy of scope MessageBody.
// A body that is not a JSON object matches no policy.
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

// match reports whether the group matches. values returns the values of a field, and
// whether the field exists. o is the object with the fields, or nil for attributes.
func (g *group) match(values func(string) ([]any, bool), o map[string]any) bool {
	for i := range g.fields {
		f := &g.fields[i]
		if f.nested != nil {
			if !matchNested(f.nested, o[f.name]) {
				return false
			}
			continue
		}
		vals, present := values(f.name)
		if !anyMatches(f.match, vals, present) {
			return false
		}
	}
	for _, or := range g.or {
		if !slices.ContainsFunc(or, func(g group) bool { return g.match(values, o) }) {
			return false
		}
	}
	return true
}

// matchNested reports whether v, an object or a list with such an object, matches g. A
// missing object counts as empty, so that {"exists": false} in it can match.
func matchNested(g *group, v any) bool {
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

// anyMatches reports whether one of the matchers matches the values of a field.
func anyMatches(ms []matcher, values []any, present bool) bool {
	// To exist is to have "a non-null and non-empty value"; see
	// https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
	exists := present && !(len(values) == 1 && (values[0] == nil || values[0] == ""))
	for _, m := range ms {
		if m.exists != nil {
			if *m.exists == exists {
				return true
			}
			continue
		}
		if !present {
			continue
		}
		if m.all {
			all := len(values) > 0
			for _, v := range values {
				all = all && m.test(v)
			}
			if all {
				return true
			}
			continue
		}
		if slices.ContainsFunc(values, m.test) {
			return true
		}
	}
	return false
}
