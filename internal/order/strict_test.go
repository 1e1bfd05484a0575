package order

import (
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
)

type base struct {
	By string `json:"by"`
}

type inner struct {
	N int64 `json:"n"`
}

type body struct {
	base
	inner

	Count  int32           `json:"count"`
	Small  uint8           `json:"small"`
	Lists  [][]inner       `json:"lists"`
	One    *inner          `json:"one"`
	At     time.Time       `json:"at"`
	Raw    json.RawMessage `json:"raw"`
	Ratio  float64         `json:"ratio"`
	Plain  string
	Hidden string `json:"-"`
}

// TestStrictRejectsWhatTheDecoderWouldAccept: a field that the decoder would accept past the checks is a fault.
func TestStrictRejectsWhatTheDecoderWouldAccept(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"by":"a","count":1,"small":2,"lists":[[{"n":1}],[]],"one":{"n":3},"n":4,"at":"x","raw":{"x":1,"X":1.5},"ratio":1.5,"Plain":"p"}`: "",
		`{"by":"a","BY":"b"}`:              `by: appears more than once: as "by" and as "BY"`,
		`{"by":"a","by":"b","by":"c"}`:     `by: appears more than once`,
		`{"BY":"b"}`:                       `BY: is spelled differently: the field's name is "by"`,
		`{"plain":"b"}`:                    `plain: is spelled differently: the field's name is "Plain"`,
		`{"coun\u0074":1,"count":1}`:       `count: appears more than once`,
		`{"who":"a"}`:                      `who: is unexpected: there is no field of this name`,
		`{"Hidden":"a"}`:                   `Hidden: is unexpected: there is no field of this name`,
		`{"base":{}}`:                      `base: is unexpected: there is no field of this name`,
		`{"one":{"m":1}}`:                  `one.m: is unexpected: there is no field of this name`,
		`{"lists":[[],[{"n":1},{"N":1}]]}`: `lists[1][1].N: is spelled differently: the field's name is "n"`,
		`{"count":1.5}`:                    `count: must be a whole number`,
		`{"count":1e-400000000}`:           `count: must be a whole number`,
		`{"count":2147483648}`:             `count: is a number out of range`,
		`{"n":1e400000000}`:                `n: is a number out of range`,
		`{"n":1e99999999999999999999999}`:  `n: is a number out of range`,
		`{"small":-1}`:                     `small: is a number out of range`,
		`{"count":"1","small":null}`:       "", // not numbers: the decoder rejects them
		`{"one":[]}`:                       "",
		`{`:                                "",
		`null`:                             "",
		`[1]`:                              "",
	} {
		_, faults := Strict([]byte(in), body{})
		if got := (&InvalidError{Fields: faults}).Error(); strings.TrimPrefix(got, "invalid order: ") != want {
			t.Errorf("faults of %s = %s, want %s", in, got, want)
		}
	}
	many, long := "{", strings.Repeat("x", 10_000)
	var built strings.Builder
	for i := range 10_000 {
		built.WriteString(fmt.Sprintf(`"%d%s":1,`, i, long[:10]))
	}
	many += built.String()
	if _, faults := Strict([]byte(many+`"`+long+`":1}`), &body{}); len(faults) != maxFaults {
		t.Errorf("10,001 unknown fields are %d faults, want %d", len(faults), maxFaults)
	}
	if _, faults := Strict([]byte(`{"`+long+`":1}`), &body{}); len(faults) != 1 || len(faults[0].Field) > maxName+len("…") {
		t.Errorf("faults of a long unknown name = %v, want one with a shortened name", faults)
	}
}

// TestStrictAcceptsWholeNumbersInAnyNotation: for JSON Schema 2.0 is an integer, for the decoder it is not.
func TestStrictAcceptsWholeNumbersInAnyNotation(t *testing.T) {
	t.Parallel()
	in := `{ "count" : 2.0 , "lists":[[{"n":1e2},{"n":-20e-1}]], "one":{"n":0.0e7},"n":-0,"small":25.50e1,"ratio":1e2,"raw":2.0,"by":"2.0"}`
	raw, faults := Strict([]byte(in), body{})
	var b body
	if err := json.Unmarshal(raw, &b); err != nil || len(faults) > 0 {
		t.Fatalf("decode %s: error %v, faults %v, want none", raw, err, faults)
	}
	want := body{
		base: base{
			By: "2.0",
		}, Count: 2, Small: 255, Lists: [][]inner{{{N: 100}, {N: -2}}}, One: &inner{}, Raw: json.RawMessage("2.0"), Ratio: 100,
	}
	if !reflect.DeepEqual(b, want) {
		t.Errorf("%s is decoded to %+v, want %+v", raw, b, want)
	}
}

// FuzzWhole compares Whole with arbitrary precision.
func FuzzWhole(f *testing.F) {
	for _, s := range []string{
		"0", "-0", "1", "-10", "2.0", "2.5", "20e-1", "1e0", "0.00001e5", "0.000015e5", "123456789012345678901",
		"9223372036854775807.000", "1E+3", "1e19", "1e20",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var n json.Number
		if json.Unmarshal([]byte(s), &n) != nil || len(s) > 40 || strings.HasPrefix(s, `"`) || n == "" {
			return
		}
		want, ok := new(big.Rat).SetString(n.String())
		if i := strings.IndexAny(n.String(), "eE"); !ok || i >= 0 && len(n.String())-i > 5 {
			return // too large for big.Rat
		}
		digits, whole := Whole(n.String())
		if whole != want.IsInt() {
			t.Fatalf("Whole(%s) reports %t, want %t", n, whole, want.IsInt())
		}
		if fits := want.IsInt() && len(want.Num().String()) <= 20; fits && digits != want.Num().String() {
			t.Errorf("Whole(%s) = %s, want %s", n, digits, want.Num())
		}
	})
}
