package expr

import (
	"maps"
	"slices"
	"strings"
)

// Uses collects the placeholders in all expressions of one request. The zero value has
// none. It is not safe for concurrent use.
type Uses struct{ used used }

// Add adds the placeholders of a Condition, Update or Projection.
func (u *Uses) Add(e interface{ placeholders() used }) {
	if u.used.names == nil {
		u.used = newUsed()
	}
	p := e.placeholders()
	maps.Copy(u.used.names, p.names)
	maps.Copy(u.used.values, p.values)
}

func (c *Condition) placeholders() used  { return c.used }
func (u *Update) placeholders() used     { return u.used }
func (p *Projection) placeholders() used { return p.used }

// Check returns an *attr.ValidationError if a placeholder is not defined, or if a definition
// is not used. DynamoDB rejects both.
func (u *Uses) Check(b Binding) error {
	for n := range u.used.names {
		if _, ok := b.Names[n]; !ok {
			return invalid("An expression attribute name used in the document path is not defined; attribute name: %s", n)
		}
	}
	for v := range u.used.values {
		if _, ok := b.Values[v]; !ok {
			return invalid("An expression attribute value used in expression is not defined; attribute value: %s", v)
		}
	}
	if extra := unused(b.Names, u.used.names); extra != "" {
		return invalid("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", extra)
	}
	if extra := unused(b.Values, u.used.values); extra != "" {
		return invalid("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", extra)
	}
	return nil
}

// unused lists the given names that are not used.
func unused[V any](given map[string]V, used map[string]bool) string {
	var extra []string
	for k := range given {
		if !used[k] {
			extra = append(extra, k)
		}
	}
	slices.Sort(extra)
	return strings.Join(extra, ", ")
}
