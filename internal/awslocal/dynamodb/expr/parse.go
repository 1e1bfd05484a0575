package expr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ParseCondition parses a condition, filter or key condition expression. Its errors are
// of type *SyntaxError.
func ParseCondition(s string) (*Condition, error) {
	l, err := lex(s)
	if err != nil {
		return nil, err
	}
	root, err := l.or(0)
	if err != nil {
		return nil, err
	}
	if l.peek().kind != tokEOF {
		return nil, l.unexpected()
	}
	c := &Condition{root: root, used: newUsed()}
	c.used.node(root)
	return c, nil
}

func newUsed() used { return used{names: map[string]bool{}, values: map[string]bool{}} }

// maxNesting limits recursion, so that a malicious expression cannot exhaust the stack.
// DynamoDB allows 300 operators in one expression.
const maxNesting = 300

func (l *lexer) or(depth int) (node, error) { return l.binary(depth, "OR", l.and) }

func (l *lexer) and(depth int) (node, error) { return l.binary(depth, "AND", l.not) }

func (l *lexer) binary(depth int, op string, operand func(int) (node, error)) (node, error) {
	left, err := operand(depth)
	for n := 0; err == nil && l.keyword(op); n++ {
		if depth+n > maxNesting {
			return node{}, &SyntaxError{Message: "The expression has too many operators"}
		}
		var right node
		right, err = operand(depth)
		left = node{op: op, children: []node{left, right}}
	}
	return left, err
}

func (l *lexer) not(depth int) (node, error) {
	if depth > maxNesting {
		return node{}, &SyntaxError{Message: "The expression is nested too deeply"}
	}
	if l.keyword("NOT") {
		inner, err := l.not(depth + 1)
		return node{op: "NOT", children: []node{inner}}, err
	}
	if l.symbol("(") {
		inner, err := l.or(depth + 1)
		if err != nil {
			return node{}, err
		}
		return inner, l.expect(")")
	}
	return l.predicate()
}

// predicates are the functions that are conditions by themselves, with their arity.
var predicates = map[string]int{"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2}

func (l *lexer) predicate() (node, error) {
	if t := l.peek(); t.kind == tokIdent && l.tokens[l.at+1].text == "(" && predicates[t.text] > 0 {
		l.at++
		args, err := l.arguments(t.text, predicates[t.text])
		if err == nil && args[0].path == nil && t.text != "contains" && t.text != "begins_with" {
			err = &SyntaxError{Message: "Operator or function requires a document path; operator or function: " + t.text}
		}
		return node{op: t.text, args: args}, err
	}
	left, err := l.operand("size")
	if err != nil {
		return node{}, err
	}
	switch {
	case l.keyword("BETWEEN"):
		low, err := l.operand("size")
		if err != nil {
			return node{}, err
		}
		if !l.keyword("AND") {
			return node{}, l.unexpected()
		}
		high, err := l.operand("size")
		return node{op: "BETWEEN", args: []operand{left, low, high}}, err
	case l.keyword("IN"):
		list, err := l.list()
		if len(list) > 100 {
			return node{}, &SyntaxError{Message: "IN takes at most 100 operands"}
		}
		return node{op: "IN", args: append([]operand{left}, list...)}, err
	}
	t := l.peek()
	if t.kind != tokSymbol || !slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, t.text) {
		return node{}, l.unexpected()
	}
	l.at++
	right, err := l.operand("size")
	return node{op: t.text, args: []operand{left, right}}, err
}

// list parses the operands of IN.
func (l *lexer) list() ([]operand, error) {
	if err := l.expect("("); err != nil {
		return nil, err
	}
	var out []operand
	for {
		o, err := l.operand("size")
		if err != nil {
			return nil, err
		}
		out = append(out, o)
		if !l.symbol(",") {
			return out, l.expect(")")
		}
	}
}

// arguments parses the arguments of fn, which may be calls of the given functions.
func (l *lexer) arguments(fn string, arity int, functions ...string) ([]operand, error) {
	if err := l.expect("("); err != nil {
		return nil, err
	}
	var args []operand
	for {
		o, err := l.operand(functions...)
		if err != nil {
			return nil, err
		}
		args = append(args, o)
		if !l.symbol(",") {
			break
		}
	}
	if len(args) != arity {
		return nil, &SyntaxError{Message: fmt.Sprintf("Incorrect number of operands for operator or function; "+
			"operator or function: %s, number of operands: %d", fn, len(args))}
	}
	return args, l.expect(")")
}

// operand parses a path, a value, or a call of one of the given functions.
func (l *lexer) operand(functions ...string) (operand, error) {
	t := l.peek()
	switch {
	case t.kind == tokValue:
		l.at++
		return operand{value: t.text}, nil
	case t.kind == tokIdent && l.tokens[l.at+1].text == "(":
		if !slices.Contains(functions, t.text) {
			return operand{}, &SyntaxError{Message: "Invalid function name; function: " + t.text}
		}
		l.at++
		arity := 2
		if t.text == "size" {
			arity = 1
		}
		if l.at > 10*maxNesting {
			return operand{}, &SyntaxError{Message: "The expression is nested too deeply"}
		}
		args, err := l.arguments(t.text, arity, functions...)
		if err == nil && t.text != "list_append" && args[0].path == nil {
			err = &SyntaxError{Message: "Operator or function requires a document path; operator or function: " + t.text}
		}
		return operand{fn: t.text, args: args}, err
	}
	p, err := l.path()
	return operand{path: p}, err
}

// path parses a document path.
func (l *lexer) path() (Path, error) {
	var p Path
	for {
		t := l.peek()
		switch {
		case t.kind == tokName:
		case t.kind == tokIdent:
			if reserved[strings.ToUpper(t.text)] {
				return nil, &SyntaxError{Message: "Attribute name is a reserved keyword; reserved keyword: " + t.text}
			}
		default:
			return nil, l.unexpected()
		}
		l.at++
		p = append(p, Step{Name: t.text})
		for l.symbol("[") {
			t := l.peek()
			n, err := strconv.Atoi(t.text)
			if t.kind != tokNumber || err != nil {
				return nil, l.unexpected()
			}
			l.at++
			p = append(p, Step{Index: n})
			if err := l.expect("]"); err != nil {
				return nil, err
			}
		}
		if !l.symbol(".") {
			return p, nil
		}
	}
}

// ParseProjection parses a projection expression. Its errors are of type *SyntaxError.
func ParseProjection(s string) (*Projection, error) {
	l, err := lex(s)
	if err != nil {
		return nil, err
	}
	p := &Projection{used: newUsed()}
	for {
		path, err := l.path()
		if err != nil {
			return nil, err
		}
		p.paths = append(p.paths, path)
		p.used.path(path)
		if !l.symbol(",") {
			break
		}
	}
	if l.peek().kind != tokEOF {
		return nil, l.unexpected()
	}
	return p, nil
}

// ParseUpdate parses an update expression. Its errors are of type *SyntaxError.
func ParseUpdate(s string) (*Update, error) {
	l, err := lex(s)
	if err != nil {
		return nil, err
	}
	u := &Update{used: newUsed()}
	seen := map[string]bool{}
	for l.peek().kind != tokEOF {
		name := strings.ToUpper(l.next().text)
		if seen[name] {
			return nil, &SyntaxError{Message: fmt.Sprintf("The %q section can only be used once in an update expression;", name)}
		}
		seen[name] = true
		for {
			if err := l.action(u, name); err != nil {
				return nil, err
			}
			if !l.symbol(",") {
				break
			}
		}
	}
	return u, u.overlaps()
}

// action parses one action of a clause and adds it to u.
func (l *lexer) action(u *Update, clause string) error {
	if !slices.Contains([]string{"SET", "REMOVE", "ADD", "DELETE"}, clause) {
		return &SyntaxError{Message: fmt.Sprintf("Syntax error; token: %q: an update has SET, REMOVE, ADD and DELETE sections", clause)}
	}
	path, err := l.path()
	if err != nil {
		return err
	}
	u.used.path(path)
	switch clause {
	case "REMOVE":
		u.remove = append(u.remove, path)
		return nil
	case "SET":
		if err := l.expect("="); err != nil {
			return err
		}
		a := assignment{path: path}
		a.left, err = l.operand("if_not_exists", "list_append")
		if err != nil {
			return err
		}
		for _, op := range []string{"+", "-"} {
			if a.op != "" || !l.symbol(op) {
				continue
			}
			a.op = op
			a.right, err = l.operand("if_not_exists", "list_append")
			if err != nil {
				return err
			}
		}
		u.used.operand(a.left)
		u.used.operand(a.right)
		u.set = append(u.set, a)
		return nil
	}
	t := l.peek()
	if t.kind != tokValue {
		return l.unexpected()
	}
	l.at++
	u.used.values[t.text] = true
	if clause == "ADD" {
		u.add = append(u.add, change{path: path, value: t.text})
	} else {
		u.del = append(u.del, change{path: path, value: t.text})
	}
	return nil
}

// overlaps returns an error if the update changes a path and also a part of it.
func (u *Update) overlaps() error {
	paths := slices.Clone(u.remove)
	for _, a := range u.set {
		paths = append(paths, a.path)
	}
	for _, c := range append(slices.Clone(u.add), u.del...) {
		paths = append(paths, c.path)
	}
	for i, a := range paths {
		for _, b := range paths[i+1:] {
			n := min(len(a), len(b))
			if slices.Equal(a[:n], b[:n]) {
				return &SyntaxError{Message: fmt.Sprintf("Two document paths overlap with each other; "+
					"must remove or rewrite one of these paths; path one: [%s], path two: [%s]", a, b)}
			}
		}
	}
	return nil
}
