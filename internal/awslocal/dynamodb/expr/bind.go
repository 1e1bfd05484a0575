package expr

import (
	"maps"
	"slices"
	"strings"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
)

// Uses collects the placeholders of all expressions of one request.
type Uses struct{ used used }

// Add notes the placeholders of a parsed expression; nil is none.
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

// Check reports placeholders that are not defined, and definitions that
// nothing uses: DynamoDB refuses both.
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

// Key is a key condition: equality on the hash key and at most one condition
// on the range key.
type Key struct {
	Hash  attr.Value
	Range func(attr.Value) bool // nil: any
	Low   *attr.Value           // the smallest range key that can match
	High  *attr.Value           // nothing above it matches; nil if there is no such bound
}

// KeyCondition interprets the condition for a table or index with these keys.
func (c *Condition) KeyCondition(b Binding, hash, rng string) (Key, error) {
	var k Key
	found := false
	for _, n := range conjuncts(c.root) {
		if len(n.args) < 2 || len(n.args[0].path) != 1 || n.args[0].fn != "" {
			return k, invalid("Query key condition not supported")
		}
		name := b.name(n.args[0].path[0].Name)
		vals := make([]attr.Value, 0, 2)
		for _, a := range n.args[1:] {
			if a.value == "" {
				return k, invalid("Query key condition not supported")
			}
			vals = append(vals, b.Values[a.value])
		}
		switch {
		case name == hash && n.op == "=" && !found:
			found, k.Hash = true, vals[0]
		case name == rng && rng != "" && k.Range == nil && slices.Contains([]string{"=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"}, n.op):
			op := n.op
			if op == "BETWEEN" {
				if c, ok := vals[0].Compare(vals[1]); ok && c > 0 {
					return k, invalid("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue, upper bound operand: AttributeValue")
				}
			}
			k.Range = func(v attr.Value) bool {
				ok, err := compare(op, append([]attr.Value{v}, vals...))
				return ok && err == nil
			}
			if op != "<" && op != "<=" {
				k.Low = &vals[0]
			}
			if op == "<" || op == "<=" || op == "=" || op == "BETWEEN" {
				k.High = &vals[len(vals)-1]
			}
		case name == hash || name == rng:
			return k, invalid("Query key condition not supported")
		case rng != "" && found:
			return k, invalid("Query condition missed key schema element: %s", rng)
		default:
			return k, invalid("Query condition missed key schema element: %s", hash)
		}
	}
	if !found {
		return k, invalid("Query condition missed key schema element: %s", hash)
	}
	return k, nil
}

func conjuncts(n node) []node {
	if n.op == "AND" {
		return append(conjuncts(n.kids[0]), conjuncts(n.kids[1])...)
	}
	return []node{n}
}
