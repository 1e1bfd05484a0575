package engine

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ValidText replaces what is not UTF-8 in the texts of a message by U+FFFD.
// Protobuf encodes no other text. Errors of activities, custom statuses and
// results may contain any bytes, such as those of another program's answer. It
// changes nothing in a message whose texts are valid. nil is allowed.
func ValidText(m proto.Message) {
	if m != nil {
		validText(m.ProtoReflect())
	}
}

func validText(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v2 protoreflect.Value) bool {
				if valid, changed := validValue(field.MapValue(), v2); changed {
					v.Map().Set(k, valid)
				}
				return true
			})
		case field.IsList():
			for n := range v.List().Len() {
				if valid, changed := validValue(field, v.List().Get(n)); changed {
					v.List().Set(n, valid)
				}
			}
		default:
			if valid, changed := validValue(field, v); changed {
				m.Set(field, valid)
			}
		}
		return true
	})
}

// validValue returns a text made valid, and whether it was not. In a message it
// makes the texts valid.
func validValue(field protoreflect.FieldDescriptor, v protoreflect.Value) (valid protoreflect.Value, changed bool) {
	switch field.Kind() {
	case protoreflect.StringKind:
		if !utf8.ValidString(v.String()) {
			return protoreflect.ValueOfString(strings.ToValidUTF8(v.String(), "\uFFFD")), true
		}
	case protoreflect.MessageKind:
		validText(v.Message())
	default:
	}
	return v, false
}
