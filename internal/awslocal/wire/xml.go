package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// field describes how the query protocol encodes one struct field.
type field struct {
	index    int
	name     string
	wrap     string // element around each item: member or entry; "" for a flat list or a scalar
	key, val string // element names of a map's keys and values
}

var fieldCache sync.Map // reflect.Type → []field

func fieldsOf(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field) //nolint:forcetypeassert // no other type is stored
	}
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		if !sf.IsExported() {
			continue
		}
		f := field{index: i, name: sf.Name}
		tag := strings.Split(sf.Tag.Get("aws"), ",")
		if tag[0] != "" {
			f.name = tag[0]
		}
		if len(tag) > 1 && tag[1] != "flat" {
			f.wrap = tag[1]
		}
		if len(tag) > 3 {
			f.key, f.val = tag[2], tag[3]
		}
		out = append(out, f)
	}
	fieldCache.Store(t, out)
	return out
}

// WriteXML writes out, a pointer to a struct, as a query-protocol response. If out
// is nil the response has no result element.
func WriteXML(w http.ResponseWriter, namespace, action, requestID string, out any) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	fmt.Fprintf(&b, `<%sResponse xmlns="%s">`, action, namespace)
	if v := reflect.ValueOf(out); v.IsValid() && !v.IsNil() {
		fmt.Fprintf(&b, "<%sResult>", action)
		encodeStruct(&b, v.Elem())
		fmt.Fprintf(&b, "</%sResult>", action)
	}
	b.WriteString("<ResponseMetadata>")
	element(&b, "RequestId", requestID)
	fmt.Fprintf(&b, "</ResponseMetadata></%sResponse>", action)
	w.Header().Set("Content-Type", "text/xml")
	_, _ = w.Write(b.Bytes()) // fails only if the client has disconnected
}

func encodeStruct(b *bytes.Buffer, v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		encodeField(b, v.Field(f.index), f)
	}
}

func encodeField(b *bytes.Buffer, v reflect.Value, f field) {
	item := f.name
	if f.wrap != "" {
		fmt.Fprintf(b, "<%s>", f.name)
		defer fmt.Fprintf(b, "</%s>", f.name)
		item = f.wrap
	}
	switch {
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
		for _, k := range keys {
			fmt.Fprintf(b, "<%s>", item)
			element(b, f.key, k.String())
			encodeValue(b, f.val, v.MapIndex(k))
			fmt.Fprintf(b, "</%s>", item)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		for i := range v.Len() {
			encodeValue(b, item, v.Index(i))
		}
	case v.Kind() != reflect.Bool && v.IsZero():
	default:
		encodeValue(b, f.name, v)
	}
}

func encodeValue(b *bytes.Buffer, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		encodeValue(b, name, v.Elem())
	case reflect.Struct:
		fmt.Fprintf(b, "<%s>", name)
		encodeStruct(b, v)
		fmt.Fprintf(b, "</%s>", name)
	case reflect.Slice:
		element(b, name, base64.StdEncoding.EncodeToString(v.Bytes()))
	default:
		element(b, name, fmt.Sprint(v.Interface()))
	}
}

func element(b *bytes.Buffer, name, text string) {
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(text)) // a bytes.Buffer never fails
	b.WriteString("</" + name + ">")
}
