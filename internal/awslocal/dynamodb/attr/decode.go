package attr

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// ValidationError is a value that DynamoDB refuses.
type ValidationError struct{ Message string }

func (e *ValidationError) Error() string { return e.Message }

// InvalidValue marks it for package wire.
func (*ValidationError) InvalidValue() {}

func invalid(format string, args ...any) error {
	return &ValidationError{fmt.Sprintf(format, args...)}
}

// maxDepth is DynamoDB's limit on nesting.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const maxDepth = 32

// UnmarshalJSON reads a value. encoding/json calls it with valid JSON only;
// walking that by hand saves decoding each level twice.
func (v *Value) UnmarshalJSON(b []byte) error {
	out, _, err := decodeValue(b, skipSpace(b, 0), 0)
	if err == nil {
		*v = out
	}
	return err
}

var errShape = &ValidationError{"Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"}

func decodeValue(b []byte, i, depth int) (Value, int, error) {
	if depth > maxDepth {
		return Value{}, i, invalid("Nesting Levels have exceeded supported limits: Attributes can be nested up to %d levels", maxDepth)
	}
	if i >= len(b) || b[i] != '{' {
		return Value{}, i, errShape
	}
	i = skipSpace(b, i+1)
	if b[i] == '}' {
		return Value{}, i, errShape
	}
	name, i, err := decodeString(b, i)
	if err != nil {
		return Value{}, i, err
	}
	i = skipSpace(b, i)
	i = skipSpace(b, i+1) // the colon
	kind := KindOf(name)
	v := Value{Kind: kind}
	switch kind {
	case S, N, B:
		v.Str, i, err = decodeString(b, i)
		if err == nil && kind == N {
			v.Str, err = ParseNumber(v.Str)
		} else if err == nil && kind == B {
			v.Str, err = decodeBase64(v.Str)
		}
	case Bool, Null:
		v.Flag = b[i] == 't'
		if kind == Null && !v.Flag {
			return Value{}, i, invalid("One or more parameter values were invalid: Null attribute value types must have the value of true")
		}
		if b[i] != 't' && b[i] != 'f' {
			return Value{}, i, errShape
		}
		for i < len(b) && b[i] >= 'a' && b[i] <= 'z' {
			i++
		}
	case L:
		v.List = []Value{}
		i, err = decodeArray(b, i, func(i int) (int, error) {
			e, i, err := decodeValue(b, i, depth+1)
			v.List = append(v.List, e)
			return i, err
		})
	case M:
		v.Map, i, err = decodeItem(b, i, depth+1)
	case SS, NS, BS:
		v.Set, i, err = decodeSet(b, i, kind)
	case None:
		return Value{}, i, errShape
	}
	if err != nil {
		return Value{}, i, err
	}
	i = skipSpace(b, i)
	if i >= len(b) || b[i] != '}' {
		return Value{}, i, invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	}
	return v, i + 1, nil
}

func decodeSet(b []byte, i int, kind Kind) ([]string, int, error) {
	set := []string{}
	i, err := decodeArray(b, i, func(i int) (int, error) {
		s, i, err := decodeString(b, i)
		if err == nil && kind == NS {
			s, err = ParseNumber(s)
		} else if err == nil && kind == BS {
			s, err = decodeBase64(s)
		}
		set = append(set, s)
		return i, err
	})
	if err != nil {
		return nil, i, err
	}
	if len(set) == 0 {
		return nil, i, invalid("One or more parameter values were invalid: An string set  may not be empty")
	}
	n := len(set)
	if set = sortedSet(set); len(set) != n {
		return nil, i, invalid("One or more parameter values were invalid: Input collection contains duplicates.")
	}
	return set, i, nil
}

// UnmarshalJSON reads an item.
func (i *Item) UnmarshalJSON(b []byte) error {
	at := skipSpace(b, 0)
	if b[at] == 'n' { // null
		return nil
	}
	out, _, err := decodeItem(b, at, 0)
	if err == nil {
		*i = out
	}
	return err
}

func decodeItem(b []byte, i, depth int) (Item, int, error) {
	if i >= len(b) || b[i] != '{' {
		return nil, i, errShape
	}
	item := Item{}
	for i = skipSpace(b, i+1); b[i] != '}'; {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		name, next, err := decodeString(b, i)
		if err != nil {
			return nil, i, err
		}
		i = skipSpace(b, next)
		i = skipSpace(b, i+1) // the colon
		if item[name], i, err = decodeValue(b, i, depth); err != nil {
			return nil, i, err
		}
		i = skipSpace(b, i)
	}
	return item, i + 1, nil
}

func decodeArray(b []byte, i int, element func(int) (int, error)) (int, error) {
	if i >= len(b) || b[i] != '[' {
		return i, errShape
	}
	for i = skipSpace(b, i+1); b[i] != ']'; {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		next, err := element(i)
		if err != nil {
			return next, err
		}
		i = skipSpace(b, next)
	}
	return i + 1, nil
}

// decodeString reads the JSON string that starts at b[i].
func decodeString(b []byte, i int) (string, int, error) {
	if i >= len(b) || b[i] != '"' {
		return "", i, &ValidationError{"a string was expected"}
	}
	plain := true
	for j := i + 1; j < len(b); j++ {
		switch b[j] {
		case '\\':
			plain = false
			j++
		case '"':
			if plain {
				return string(b[i+1 : j]), j + 1, nil
			}
			var s string
			if err := json.Unmarshal(b[i:j+1], &s); err != nil {
				return "", i, fmt.Errorf("decode string: %w", err)
			}
			return s, j + 1, nil
		}
	}
	return "", i, errors.New("string without end")
}

func decodeBase64(s string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", invalid("Invalid base64 in a binary attribute: %v", err)
	}
	return string(raw), nil
}

func formatInt(n int) string { return strconv.Itoa(n) }
