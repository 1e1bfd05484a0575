package wire

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// maxKeyDepth is the largest number of dot-separated parts in a form key; the
// longest key of an AWS operation has six.
const maxKeyDepth = 8

// node is one part of a form's dotted keys: the keys a.b and a.c are a node a with
// the children b and c.
type node struct {
	value    string
	children map[string]*node
}

// parseForm turns a form's dotted keys into a tree.
func parseForm(form url.Values) (*node, error) {
	root := &node{}
	for key, values := range form {
		parts := strings.Split(key, ".")
		if len(parts) > maxKeyDepth {
			return nil, malformed(key, "is nested too deeply")
		}
		n := root
		for _, p := range parts {
			next := n.children[p]
			if next == nil {
				if n.children == nil {
					n.children = make(map[string]*node)
				}
				next = &node{}
				n.children[p] = next
			}
			n = next
		}
		n.value = values[0]
	}
	return root, nil
}

// list returns the children named 1, 2, 3 … in order. Missing numbers are skipped.
func (n *node) list() []*node {
	index := make([]int, 0, len(n.children))
	for k := range n.children {
		if i, err := strconv.Atoi(k); err == nil && i > 0 && strconv.Itoa(i) == k {
			index = append(index, i)
		}
	}
	sort.Ints(index)
	out := make([]*node, len(index))
	for i, k := range index {
		out[i] = n.children[strconv.Itoa(k)]
	}
	return out
}

func malformed(key, why string) error {
	return &Error{Code: "MalformedInput", Message: fmt.Sprintf("Parameter %s %s.", key, why)}
}

// DecodeQuery decodes a query-protocol form into the struct that dst points to.
// Unknown parameters are ignored; a value of the wrong type is an *Error
// (MalformedInput).
func DecodeQuery(form url.Values, dst any) error {
	root, err := parseForm(form)
	if err != nil {
		return err
	}
	return decodeStruct(root, reflect.ValueOf(dst).Elem(), "")
}

func decodeStruct(n *node, v reflect.Value, path string) error {
	for _, f := range fieldsOf(v.Type()) {
		child := n.children[f.name]
		if child == nil {
			continue
		}
		if err := decodeField(child, v.Field(f.index), f, path+f.name); err != nil {
			return err
		}
	}
	return nil
}

func decodeField(n *node, v reflect.Value, f field, path string) error {
	if f.wrap != "" { // a list or map in an element of its own: Topics.member.N
		n = n.children[f.wrap]
		if n == nil {
			return nil
		}
		path += "." + f.wrap
	}
	switch {
	case v.Kind() == reflect.Map:
		items := n.list()
		m := reflect.MakeMapWithSize(v.Type(), len(items))
		for i, item := range items {
			key, value := item.children[f.key], item.children[f.val]
			at := fmt.Sprintf("%s.%d", path, i+1)
			if key == nil {
				return malformed(at+"."+f.key, "is missing")
			}
			elem := reflect.New(v.Type().Elem()).Elem()
			if value != nil {
				if err := decodeValue(value, elem, at+"."+f.val); err != nil {
					return err
				}
			}
			m.SetMapIndex(reflect.ValueOf(key.value), elem)
		}
		v.Set(m)
		return nil
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		items := n.list()
		s := reflect.MakeSlice(v.Type(), len(items), len(items))
		for i, item := range items {
			if err := decodeValue(item, s.Index(i), fmt.Sprintf("%s.%d", path, i+1)); err != nil {
				return err
			}
		}
		v.Set(s)
		return nil
	}
	return decodeValue(n, v, path)
}

func decodeValue(n *node, v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if err := decodeValue(n, p.Elem(), path); err != nil {
			return err
		}
		v.Set(p)
	case reflect.Struct:
		return decodeStruct(n, v, path+".")
	case reflect.String:
		v.SetString(n.value)
	case reflect.Int, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(n.value, 10, v.Type().Bits())
		if err != nil {
			return malformed(path, "is not an integer")
		}
		v.SetInt(i)
	case reflect.Bool:
		b, err := strconv.ParseBool(n.value)
		if err != nil {
			return malformed(path, "is not a boolean")
		}
		v.SetBool(b)
	case reflect.Slice: // []byte
		b, err := base64.StdEncoding.DecodeString(n.value)
		if err != nil {
			return malformed(path, "is not base64")
		}
		v.SetBytes(b)
	default:
		panic("wire: the query protocol cannot decode a " + v.Type().String())
	}
	return nil
}
