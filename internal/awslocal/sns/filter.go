package sns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"slices"
	"strings"
)

// Limits of a filter policy; see
// https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html
const (
	maxPolicyBytes        = 256 << 10
	maxPolicyKeys         = 5 // leaf keys, as AWS counts them
	maxPolicyCombinations = 150
	maxPolicyDepth        = 32 // not AWS's: it limits nesting by the combinations only
)

// Filter is a parsed filter policy. It is immutable and safe for concurrent use; see
// https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
type Filter struct{ root group }

// group is an object of a policy. It matches if all its rules and all its $or lists do.
type group struct {
	fields []fieldRule
	or     [][]group // a list matches if one of its groups does
}

// fieldRule is the rule for one field: either matchers or a nested group.
type fieldRule struct {
	name   string
	match  []matcher // the field matches if one of them does
	nested *group    // only with scope MessageBody
}

// matcher is one condition on the values of a field.
type matcher struct {
	exists *bool            // the condition is {"exists": …}
	test   func(v any) bool // otherwise the test of one value
	all    bool             // anything-but: all values must pass the test, not only one
}

// ParseFilter parses a filter policy. nested is true for the scope MessageBody, where
// objects may nest. The error names the field that is invalid.
func ParseFilter(policy string, nested bool) (*Filter, error) {
	if len(policy) > maxPolicyBytes {
		return nil, fmt.Errorf("policy is longer than %d bytes", maxPolicyBytes)
	}
	v, err := decode(policy)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("policy is not an object")
	}
	p := filterParser{nested: nested, combinations: 1}
	g, err := p.group(o, 0)
	if err != nil {
		return nil, err
	}
	if p.keys > maxPolicyKeys {
		return nil, fmt.Errorf("filter policy can not have more than %d keys", maxPolicyKeys)
	}
	return &Filter{root: *g}, nil
}

// decode decodes one JSON value, with numbers as json.Number.
func decode(s string) (any, error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("failed to parse JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("failed to parse JSON: more than one value")
	}
	return v, nil
}

// filterParser counts what the limits apply to while it parses a policy.
type filterParser struct {
	nested       bool
	keys         int
	combinations int
}

// group parses an object of a policy.
func (p *filterParser) group(o map[string]any, depth int) (*group, error) {
	if depth > maxPolicyDepth {
		return nil, errors.New("filter policy is nested too deeply")
	}
	g := &group{}
	for name, rule := range o {
		if list, ok := rule.([]any); ok && name == "$or" && isOr(list) {
			or, err := p.or(list, depth)
			if err != nil {
				return nil, err
			}
			g.or = append(g.or, or)
			continue
		}
		f := fieldRule{name: name}
		switch r := rule.(type) {
		case []any:
			if len(r) == 0 {
				return nil, fmt.Errorf("%s: empty arrays are not allowed", name)
			}
			p.keys++
			p.combinations *= len(r)
			if p.combinations > maxPolicyCombinations {
				return nil, errors.New("filter policy is too complex")
			}
			for _, c := range r {
				m, err := parseMatcher(c)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				f.match = append(f.match, m)
			}
		case map[string]any:
			if !p.nested {
				return nil, fmt.Errorf("%s: filter policy scope MessageAttributes does not support nested filter policy", name)
			}
			if len(r) == 0 {
				return nil, fmt.Errorf("%s: empty objects are not allowed", name)
			}
			nested, err := p.group(r, depth+1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			f.nested = nested
		default:
			return nil, fmt.Errorf("%s must be an object or an array", name)
		}
		g.fields = append(g.fields, f)
	}
	return g, nil
}

// isOr distinguishes an $or relationship from a field of that name: AWS requires two
// objects or more.
func isOr(list []any) bool {
	for _, e := range list {
		if _, ok := e.(map[string]any); !ok {
			return false
		}
	}
	return len(list) >= 2
}

// or parses an $or list. Of the keys, it counts those of the group with the most.
func (p *filterParser) or(list []any, depth int) ([]group, error) {
	var out []group
	before := p.keys
	largest := 0
	for _, e := range list {
		p.keys = before
		g, err := p.group(e.(map[string]any), depth+1) //nolint:forcetypeassert // isOr has checked it
		if err != nil {
			return nil, fmt.Errorf("$or: %w", err)
		}
		largest = max(largest, p.keys)
		out = append(out, *g)
	}
	p.keys = largest
	return out, nil
}

func parseMatcher(c any) (matcher, error) {
	switch v := c.(type) {
	case string, bool, nil, json.Number:
		return matcher{test: func(x any) bool { return equal(x, v) }}, nil
	case map[string]any:
		if len(v) != 1 {
			return matcher{}, errors.New("a condition must have exactly one operator")
		}
		for op, arg := range v {
			m, err := parseOperator(op, arg)
			if err != nil {
				return matcher{}, fmt.Errorf("%s: %w", op, err)
			}
			return m, nil
		}
	}
	return matcher{}, errors.New("a condition must be a value or an operator")
}

func parseOperator(op string, arg any) (matcher, error) {
	switch op {
	case "exists":
		b, ok := arg.(bool)
		if !ok {
			return matcher{}, errors.New("must be true or false")
		}
		return matcher{exists: &b}, nil
	case "anything-but":
		excluded, err := parseAnythingBut(arg)
		if err != nil {
			return matcher{}, err
		}
		return matcher{test: func(x any) bool { return !excluded(x) }, all: true}, nil
	case "numeric":
		test, err := parseNumeric(arg)
		return matcher{test: test}, err
	default:
		test, err := parseText(op, arg)
		return matcher{test: test}, err
	}
}

// parseText parses an operator on strings.
func parseText(op string, arg any) (func(any) bool, error) {
	s, ok := arg.(string)
	if !ok {
		return nil, errors.New("must be a string")
	}
	text := func(test func(string) bool) func(any) bool {
		return func(x any) bool { v, ok := x.(string); return ok && test(v) }
	}
	switch op {
	case "prefix":
		return text(func(v string) bool { return strings.HasPrefix(v, s) }), nil
	case "suffix":
		return text(func(v string) bool { return strings.HasSuffix(v, s) }), nil
	case "equals-ignore-case":
		return text(func(v string) bool { return strings.EqualFold(v, s) }), nil
	case "cidr":
		net, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("is not an address range: %w", err)
		}
		return text(func(v string) bool { a, err := netip.ParseAddr(v); return err == nil && net.Contains(a) }), nil
	}
	return nil, errors.New("unrecognized match type")
}

// parseAnythingBut returns the test for the values that an anything-but condition excludes.
func parseAnythingBut(arg any) (func(any) bool, error) {
	switch v := arg.(type) {
	case string, json.Number:
		return func(x any) bool { return equal(x, v) }, nil
	case []any:
		if len(v) == 0 {
			return nil, errors.New("empty arrays are not allowed")
		}
		for _, e := range v {
			switch e.(type) {
			case string, json.Number:
			default:
				return nil, errors.New("list must hold strings or numbers")
			}
		}
		return func(x any) bool {
			for _, e := range v {
				if equal(x, e) {
					return true
				}
			}
			return false
		}, nil
	case map[string]any:
		if len(v) == 1 {
			for op, s := range v {
				if op == "prefix" || op == "suffix" {
					return parseText(op, s)
				}
			}
		}
	}
	return nil, errors.New("must be a value, a list of values, a prefix or a suffix")
}

// parseNumeric parses {"numeric": […]}.
func parseNumeric(arg any) (func(any) bool, error) {
	list, ok := arg.([]any)
	if !ok || (len(list) != 2 && len(list) != 4) {
		return nil, errors.New("must be one or two pairs of operator and number")
	}
	type bound struct {
		op    string
		limit *big.Rat
	}
	var bounds []bound
	for i := 0; i < len(list); i += 2 {
		op, ok := list[i].(string)
		if !ok || !slices.Contains([]string{"=", "<", "<=", ">", ">="}, op) {
			return nil, fmt.Errorf("unrecognized operator %v", list[i])
		}
		n, ok := list[i+1].(json.Number)
		limit := rational(n)
		if !ok || limit == nil {
			return nil, fmt.Errorf("value of %s must be a number within ±10^9", op)
		}
		bounds = append(bounds, bound{op: op, limit: limit})
	}
	if len(bounds) == 2 && (bounds[0].op[0] != '>' || bounds[1].op[0] != '<') {
		return nil, errors.New("a range must have a lower and then an upper bound")
	}
	if len(bounds) == 2 && bounds[0].limit.Cmp(bounds[1].limit) >= 0 {
		return nil, errors.New("bottom must be less than top")
	}
	return func(x any) bool {
		n, ok := x.(json.Number)
		v := rational(n)
		if !ok || v == nil {
			return false
		}
		for _, b := range bounds {
			c := v.Cmp(b.limit)
			if !(c == 0 && strings.Contains(b.op, "=") || c < 0 && b.op[0] == '<' || c > 0 && b.op[0] == '>') {
				return false
			}
		}
		return true
	}, nil
}

// rational returns the exact value of n, so that 300.10 equals 300.1. It returns nil for
// what is not a number, and for a very large or small one: as a fraction it would take
// much memory, and AWS does not accept it either.
func rational(n json.Number) *big.Rat {
	if len(n) == 0 || len(n) > 40 {
		return nil
	}
	if f, err := n.Float64(); err != nil || f > 1e15 || f < -1e15 || (f != 0 && f < 1e-15 && f > -1e-15) {
		return nil
	}
	if i := bytes.IndexAny([]byte(n), "eE"); i >= 0 && len(n)-i > 5 {
		return nil
	}
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return nil
	}
	return r
}

// equal reports whether the value x matches the policy's value want.
func equal(x, want any) bool {
	a, ok1 := x.(json.Number)
	b, ok2 := want.(json.Number)
	if ok1 && ok2 {
		ra, rb := rational(a), rational(b)
		return a == b || ra != nil && rb != nil && ra.Cmp(rb) == 0
	}
	return x == want
}
