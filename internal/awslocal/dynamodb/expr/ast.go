package expr

import (
	"strconv"
	"strings"
)

// Path is a document path: it names an attribute or a part of one, as in a.b[2].c.
type Path []Step

// Step is one element of a Path: a name, with a leading "#" if it is a placeholder, or an
// index of a list.
type Step struct {
	Name  string
	Index int // used if Name is ""
}

// String returns the path as an expression.
func (p Path) String() string {
	var b strings.Builder
	for i, s := range p {
		if s.Name == "" {
			b.WriteString("[" + strconv.Itoa(s.Index) + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(s.Name)
	}
	return b.String()
}

// operand is a path, a value placeholder, or a function of them.
type operand struct {
	path  Path
	value string    // ":v"
	fn    string    // size, if_not_exists, list_append
	args  []operand // the arguments of fn
}

func (o operand) String() string {
	switch {
	case o.fn != "":
		return o.fn + "(" + joinOperands(o.args) + ")"
	case o.value != "":
		return o.value
	}
	return o.path.String()
}

func joinOperands(os []operand) string {
	s := make([]string, len(os))
	for i, o := range os {
		s[i] = o.String()
	}
	return strings.Join(s, ", ")
}

// node is a condition, or a part of one.
type node struct {
	op       string // AND, OR, NOT, =, <>, <, <=, >, >=, BETWEEN, IN, or the name of a function
	children []node
	args     []operand
}

func (n node) String() string {
	switch n.op {
	case "AND", "OR":
		return "(" + n.children[0].String() + " " + n.op + " " + n.children[1].String() + ")"
	case "NOT":
		return "(NOT " + n.children[0].String() + ")"
	case "BETWEEN":
		return "(" + n.args[0].String() + " BETWEEN " + n.args[1].String() + " AND " + n.args[2].String() + ")"
	case "IN":
		return "(" + n.args[0].String() + " IN (" + joinOperands(n.args[1:]) + "))"
	case "=", "<>", "<", "<=", ">", ">=":
		return "(" + n.args[0].String() + " " + n.op + " " + n.args[1].String() + ")"
	}
	return n.op + "(" + joinOperands(n.args) + ")"
}

// used is the set of placeholders in an expression.
type used struct{ names, values map[string]bool }

func (u used) path(p Path) {
	for _, s := range p {
		if strings.HasPrefix(s.Name, "#") {
			u.names[s.Name] = true
		}
	}
}

func (u used) operand(o operand) {
	if o.value != "" {
		u.values[o.value] = true
	}
	u.path(o.path)
	for _, a := range o.args {
		u.operand(a)
	}
}

func (u used) node(n node) {
	for _, a := range n.args {
		u.operand(a)
	}
	for _, k := range n.children {
		u.node(k)
	}
}

// Condition is a parsed condition, filter or key condition. It is immutable and safe for
// concurrent use.
type Condition struct {
	root node
	used used
}

// String returns the condition as an expression that parses to the same condition.
func (c *Condition) String() string { return c.root.String() }

// Update is a parsed update expression. It is immutable and safe for concurrent use.
type Update struct {
	set    []assignment
	remove []Path
	add    []change
	del    []change
	used   used
}

// assignment is one action of a SET clause.
type assignment struct {
	path        Path
	left, right operand
	op          string // "", "+" or "-"
}

// change is one action of an ADD or DELETE clause.
type change struct {
	path  Path
	value string // placeholder
}

// String returns the update as an expression that parses to the same update.
func (u *Update) String() string {
	var parts []string
	clause := func(name string, items []string) {
		if len(items) > 0 {
			parts = append(parts, name+" "+strings.Join(items, ", "))
		}
	}
	var set, remove, add, del []string
	for _, a := range u.set {
		s := a.path.String() + " = " + a.left.String()
		if a.op != "" {
			s += " " + a.op + " " + a.right.String()
		}
		set = append(set, s)
	}
	for _, p := range u.remove {
		remove = append(remove, p.String())
	}
	for _, c := range u.add {
		add = append(add, c.path.String()+" "+c.value)
	}
	for _, c := range u.del {
		del = append(del, c.path.String()+" "+c.value)
	}
	clause("SET", set)
	clause("REMOVE", remove)
	clause("ADD", add)
	clause("DELETE", del)
	return strings.Join(parts, " ")
}

// Projection is a parsed projection expression. It is immutable and safe for concurrent
// use.
type Projection struct {
	paths []Path
	used  used
}

// String returns the projection as an expression.
func (p *Projection) String() string {
	s := make([]string, len(p.paths))
	for i, path := range p.paths {
		s[i] = path.String()
	}
	return strings.Join(s, ", ")
}
