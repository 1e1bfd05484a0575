// Package expr implements DynamoDB's expression language: conditions, filters, key
// conditions, updates and projections. Parsing and evaluation are separate, so that a
// parsed expression can be cached; see
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html
package expr

import (
	"fmt"
	"strings"
)

type tokenKind uint8

const (
	tokEOF    tokenKind = iota
	tokIdent            // attribute name, keyword or function
	tokName             // #placeholder
	tokValue            // :placeholder
	tokNumber           // list index
	tokSymbol
)

type token struct {
	kind tokenKind
	text string
	pos  int // byte offset in the expression
}

// SyntaxError reports that an expression cannot be parsed. Message is DynamoDB's, without
// the kind of expression.
type SyntaxError struct{ Message string }

// Error returns the message.
func (e *SyntaxError) Error() string { return e.Message }

// lexer holds the tokens of one expression; its methods parse them.
type lexer struct {
	tokens []token // the last one is tokEOF
	at     int     // index of the next token
}

// maxLength is DynamoDB's limit on an expression, in bytes.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const maxLength = 4096

func lex(s string) (*lexer, error) {
	if strings.TrimSpace(s) == "" {
		return nil, &SyntaxError{Message: "The expression can not be empty;"}
	}
	if len(s) > maxLength {
		return nil, &SyntaxError{Message: fmt.Sprintf("Expression size has exceeded the maximum allowed size; expression size: %d", len(s))}
	}
	l := &lexer{}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '#' || c == ':':
			j := i + 1
			for j < len(s) && wordByte(s[j]) {
				j++
			}
			if j == i+1 {
				return nil, syntax(s, i)
			}
			kind := tokName
			if c == ':' {
				kind = tokValue
			}
			l.tokens = append(l.tokens, token{kind: kind, text: s[i:j], pos: i})
			i = j
		case c >= '0' && c <= '9':
			j := i
			for j < len(s) && s[j] >= '0' && s[j] <= '9' {
				j++
			}
			l.tokens = append(l.tokens, token{kind: tokNumber, text: s[i:j], pos: i})
			i = j
		case wordByte(c):
			j := i
			for j < len(s) && wordByte(s[j]) {
				j++
			}
			l.tokens = append(l.tokens, token{kind: tokIdent, text: s[i:j], pos: i})
			i = j
		case strings.HasPrefix(s[i:], "<>") || strings.HasPrefix(s[i:], "<=") || strings.HasPrefix(s[i:], ">="):
			l.tokens = append(l.tokens, token{kind: tokSymbol, text: s[i : i+2], pos: i})
			i += 2
		case strings.IndexByte("()[],.=<>+-", c) >= 0:
			l.tokens = append(l.tokens, token{kind: tokSymbol, text: s[i : i+1], pos: i})
			i++
		default:
			return nil, syntax(s, i)
		}
	}
	l.tokens = append(l.tokens, token{kind: tokEOF, text: "<EOF>", pos: len(s)})
	return l, nil
}

// syntax returns the error for the byte at i.
func syntax(s string, i int) error {
	return &SyntaxError{Message: fmt.Sprintf("Syntax error; token: %q, near: %q", s[i:i+1], s[i:min(len(s), i+12)])}
}

// wordByte reports whether c can be part of a name.
func wordByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func (l *lexer) peek() token { return l.tokens[l.at] }

func (l *lexer) next() token {
	t := l.tokens[l.at]
	if t.kind != tokEOF {
		l.at++
	}
	return t
}

// symbol consumes the symbol if it is the next token, and reports whether it was.
func (l *lexer) symbol(s string) bool {
	if t := l.peek(); t.kind == tokSymbol && t.text == s {
		l.at++
		return true
	}
	return false
}

// keyword consumes the keyword if it is the next token, and reports whether it was. Case
// does not matter.
func (l *lexer) keyword(k string) bool {
	if t := l.peek(); t.kind == tokIdent && strings.EqualFold(t.text, k) {
		l.at++
		return true
	}
	return false
}

// unexpected returns the error for the next token.
func (l *lexer) unexpected() error {
	t := l.peek()
	near := t.text
	if l.at+1 < len(l.tokens) {
		near += " " + l.tokens[l.at+1].text
	}
	return &SyntaxError{Message: fmt.Sprintf("Syntax error; token: %q, near: %q", t.text, near)}
}

// expect consumes the symbol, or returns an error if it is not the next token.
func (l *lexer) expect(s string) error {
	if !l.symbol(s) {
		return l.unexpected()
	}
	return nil
}
