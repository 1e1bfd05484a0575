package expr

import (
	"slices"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
)

// Key is a key condition: equality on the hash key, and at most one condition on the range
// key.
type Key struct {
	Hash  attr.Value
	Range func(attr.Value) bool // reports whether a range key matches; nil matches all
	Low   *attr.Value           // the smallest range key that can match; nil if there is no bound
	High  *attr.Value           // the largest range key that can match; nil if there is no bound
}

// KeyCondition interprets the condition for a table or index whose keys have the names hash
// and rng; rng is "" if there is no range key. A condition that DynamoDB does not accept is
// an *attr.ValidationError.
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
		case name == rng && rng != "" && k.Range == nil && slices.Contains(rangeOperators, n.op):
			op := n.op
			if op == "BETWEEN" {
				if c, ok := vals[0].Compare(vals[1]); ok && c > 0 {
					return k, invalid("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; " +
						"lower bound operand: AttributeValue, upper bound operand: AttributeValue")
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

// rangeOperators are the operators that a key condition can apply to the range key.
var rangeOperators = []string{"=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"}

// conjuncts returns the conditions that n joins with AND.
func conjuncts(n node) []node {
	if n.op == "AND" {
		return append(conjuncts(n.children[0]), conjuncts(n.children[1])...)
	}
	return []node{n}
}
