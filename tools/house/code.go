package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

const maxColumns = 140

func (c *checker) goFile(name string, src []byte) error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("parse %s: %w", name, err)
	}
	g := goChecker{
		checker: c, name: name, fset: fset, manyReasons: map[*ast.CallExpr]bool{},
		test: strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testkit/"),
	}
	for n, line := range numbered(string(src)) {
		if columns(line) > maxColumns && !strings.Contains(line, "://") && !taggedField.MatchString(line) {
			c.add("long-line", name, n, fmt.Sprintf("%d columns", columns(line)))
		}
	}
	for _, group := range f.Comments {
		for _, comment := range group.List {
			c.prose(name, g.line(comment), strings.TrimSuffix(strings.TrimLeft(comment.Text, "/*"), "*/"))
		}
	}
	if !g.test {
		if g.local, err = c.structsOf(filepath.Dir(name)); err != nil {
			return err
		}
	}
	ast.Inspect(f, g.node)
	return nil
}

// copiesHelper reports whether f has the name of a helper that internal/testkit/require
// replaces. Methods may be called noError or waitFor: they check more than
// an error. The module integration/interop cannot import this one.
func (g goChecker) copiesHelper(f *ast.FuncDecl) bool {
	switch f.Name.Name {
	case "must", "Must", "eventually":
		return true
	case "noError", "mustNot", "waitFor":
		return f.Recv == nil && !strings.HasPrefix(filepath.ToSlash(g.name), "integration/interop/")
	}
	return false
}

var taggedField = regexp.MustCompile("^\t+\\S.*`[a-z]+:\"")

// columns counts characters. A tab is one column, because its width depends on the editor.
func columns(line string) int { return len([]rune(line)) }

type goChecker struct {
	*checker

	name  string
	fset  *token.FileSet
	test  bool
	local map[string]bool // struct types of this package

	manyReasons map[*ast.CallExpr]bool // calls under an if with ||: an error may not be why
}

func (g goChecker) line(n ast.Node) int { return g.fset.Position(n.Pos()).Line }

func (g goChecker) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		g.header(n.Init)
		g.alternatives(n)
	case *ast.SwitchStmt:
		g.header(n.Init)
	case *ast.IndexExpr:
		if lit, ok := n.X.(*ast.CompositeLit); ok {
			if m, ok := lit.Type.(*ast.MapType); ok && isIdent(m.Key, "bool") {
				g.add("map-ternary", g.name, g.line(n), "write an if")
			}
		}
	case *ast.CompositeLit:
		if id, ok := n.Type.(*ast.Ident); ok && g.local[id.Name] && len(n.Elts) > 0 {
			if _, keyed := n.Elts[0].(*ast.KeyValueExpr); !keyed {
				g.add("positional", g.name, g.line(n), id.Name+" without field names")
			}
		}
	case *ast.FuncDecl:
		if g.test && g.copiesHelper(n) {
			g.add("helper-copy", g.name, g.line(n), "use internal/testkit/require")
		}
	case *ast.CallExpr:
		g.failure(n)
	case *ast.Field:
		if n.Tag != nil {
			g.tag(n.Tag)
		}
	case *ast.ImportSpec:
		return false
	case *ast.BasicLit:
		if n.Kind == token.STRING && !g.test && !strings.Contains(n.Value, ":\"") {
			if text, err := strconv.Unquote(n.Value); err == nil && strings.Contains(text, " ") {
				g.prose(g.name, g.line(n), text)
			}
		}
	}
	return true
}

// header is the statement before the condition of an if, or the tag of a switch.
func (g goChecker) header(init ast.Stmt) {
	if init == nil {
		return
	}
	if a, ok := init.(*ast.AssignStmt); ok {
		if a.Tok == token.DEFINE || len(a.Lhs) == 1 && isIdent(a.Lhs[0], "err") {
			return
		}
	}
	g.add("if-init", g.name, g.line(init), "move it to a line of its own")
}

// tag looks at the texts that struct tags hold for users.
func (g goChecker) tag(lit *ast.BasicLit) {
	text, err := strconv.Unquote(lit.Value)
	if err != nil {
		return
	}
	for _, key := range []string{"help", "doc", "description", "placeholder"} {
		g.prose(g.name, g.line(lit), reflect.StructTag(text).Get(key))
	}
}

var verb = regexp.MustCompile(`%[-+# 0]*(\d+|\*)?(\.\d+)?[a-zA-Z%]`)

// failure looks at the message of a test's failure.
func (g goChecker) failure(call *ast.CallExpr) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !g.test || len(call.Args) == 0 {
		return
	}
	switch sel.Sel.Name {
	case "Errorf", "Fatalf", "Error", "Fatal":
	default:
		return
	}
	if !isTest(sel.X) {
		return
	}
	text := g.literals(call)
	switch {
	case statesAnError(call) && !g.manyReasons[call]:
	case !strings.ContainsFunc(verb.ReplaceAllString(text, ""), unicode.IsLetter):
		g.add("mute-failure", g.name, g.line(call), "name what failed, with got and want")
	case !expectation.MatchString(text):
		g.add("no-want", g.name, g.line(call), text)
	}
}

// alternatives marks the failures of a condition with ||.
func (g goChecker) alternatives(n *ast.IfStmt) {
	cond, ok := n.Cond.(*ast.BinaryExpr)
	if !ok || cond.Op != token.LOR {
		return
	}
	for _, stmt := range n.Body.List {
		if x, ok := stmt.(*ast.ExprStmt); ok {
			if call, ok := x.X.(*ast.CallExpr); ok {
				g.manyReasons[call] = true
			}
		}
	}
}

// isTest reports whether the receiver of a call such as Errorf is a test, or a
// struct that embeds one.
func isTest(receiver ast.Expr) bool {
	id, ok := receiver.(*ast.Ident)
	return !ok || id.Name != "fmt" && id.Name != "log" && id.Name != "status" && id.Name != "http"
}

// literals joins the texts in a call's arguments.
func (g goChecker) literals(call *ast.CallExpr) string {
	var all strings.Builder
	for _, arg := range call.Args {
		ast.Inspect(arg, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value) // the parser has read it
				g.prose(g.name, g.line(lit), text)
				all.WriteString(text + " ")
			}
			return true
		})
	}
	return strings.TrimSpace(all.String())
}

// expectation is how a message states what the test wanted.
var expectation = regexp.MustCompile(`(?i)\b(want|wants|wanted|expected|timed out|must)\b`)

// statesAnError reports whether a message ends with an error that was not expected:
// the error says what was got, and the words before it what was attempted.
func statesAnError(call *ast.CallExpr) bool {
	for _, arg := range call.Args {
		id, ok := arg.(*ast.Ident)
		if ok && (strings.HasPrefix(id.Name, "err") || strings.HasSuffix(id.Name, "Err")) {
			return true
		}
	}
	return false
}

// structsOf names the struct types that a directory declares.
func (c *checker) structsOf(dir string) (map[string]bool, error) {
	if found, ok := c.structs[dir]; ok {
		return found, nil
	}
	found := map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(c.root, dir))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".go" {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(c.root, dir, e.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parse %s/%s: %w", dir, e.Name(), err)
		}
		for _, d := range f.Decls {
			if decl, ok := d.(*ast.GenDecl); ok {
				for _, spec := range decl.Specs {
					if t, ok := spec.(*ast.TypeSpec); ok {
						if _, isStruct := t.Type.(*ast.StructType); isStruct {
							found[t.Name.Name] = true
						}
					}
				}
			}
		}
	}
	c.structs[dir] = found
	return found, nil
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}
