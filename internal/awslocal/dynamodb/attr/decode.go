package attr

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// ValidationError reports a value or an expression that DynamoDB rejects with a
// ValidationException. Message is DynamoDB's.
type ValidationError struct{ Message string }

// Error returns the message.
func (e *ValidationError) Error() string { return e.Message }

// InvalidValue makes the error a wire.InvalidValueError.
func (*ValidationError) InvalidValue() {}

func invalid(format string, args ...any) error {
	return &ValidationError{Message: fmt.Sprintf(format, args...)}
}

// maxDepth is DynamoDB's limit on the nesting of lists and maps; see
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const maxDepth = 32

// UnmarshalJSON decodes a value from the API's form, such as {"S":"x"}. b must be valid
// JSON, as encoding/json guarantees. The decoder is written by hand, because encoding/json
// would scan every level twice. A value that DynamoDB rejects is a *ValidationError.
func (v *Value) UnmarshalJSON(b []byte) error {
	out, _, err := decodeValue(b, skipSpace(b, 0), 0)
	if err == nil {
		*v = out
	}
	return err
}

var errShape = &ValidationError{
	Message: "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
}

// decodeValue decodes the value that starts at b[i], and returns the index after it.
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
			return Value{}, i, invalid(
				"One or more parameter values were invalid: Null attribute value types must have the value of true")
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
		return Value{}, i, invalid(
			"Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	}
	return v, i + 1, nil
}

// decodeSet decodes the set that starts at b[i], and returns the index after it.
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
	set = sortedSet(set)
	if len(set) != n {
		return nil, i, invalid("One or more parameter values were invalid: Input collection contains duplicates.")
	}
	return set, i, nil
}

// UnmarshalJSON decodes an item; null leaves it unchanged. b must be valid JSON, as
// encoding/json guarantees.
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

// decodeItem decodes the map that starts at b[i], and returns the index after it.
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
		v, next, err := decodeValue(b, i, depth)
		if err != nil {
			return nil, next, err
		}
		item[name] = v
		i = skipSpace(b, next)
	}
	return item, i + 1, nil
}

// decodeArray calls element with the index of each element of the array that starts at b[i],
// and returns the index after the array.
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

// decodeString decodes the string that starts at b[i], and returns the index after it.
func decodeString(b []byte, i int) (string, int, error) {
	if i >= len(b) || b[i] != '"' {
		return "", i, &ValidationError{Message: "a string was expected"}
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
	return "", i, errors.New("the string has no closing quote")
}

func decodeBase64(s string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", invalid("Invalid base64 in a binary attribute: %v", err)
	}
	return string(raw), nil
}
