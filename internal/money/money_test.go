package money

import (
	"strings"
	"testing"
)

// TestDigitsFollowISO4217: the table is ISO 4217's, not CLDR's.
func TestDigitsFollowISO4217(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]int{
		"EUR": 2, "USD": 2, "JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "UGX": 0, "XOF": 0,
		"KWD": 3, "BHD": 3, "TND": 3, "IQD": 3, "JOD": 3, "LYD": 3, "OMR": 3,
		"IDR": 2, "COP": 2, "HUF": 2, "TWD": 2, "MGA": 2, "MRU": 2, // CLDR or everyday use differ
		"SLE": 2, "VES": 2, "XCG": 2, "ZWG": 2, // since 2018
	} {
		if got, ok := Digits(code); !ok || got != want || !Known(code) {
			t.Errorf("Digits(%q) = %d, %v, want %d and a known currency", code, got, ok, want)
		}
	}
	for _, code := range []string{"", "eur", "EURO", "XXX", "DEM", "HRK", "BGN", "ABC", "€"} { // not active, or no currency
		if n, ok := Digits(code); ok || Known(code) {
			t.Errorf("Digits(%q) = %d, %v, want an unknown currency", code, n, ok)
		}
	}
}

func TestFormatShowsMinorUnitsAsDecimals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		minor int64
		code  string
		want  string
	}{
		{1999, "EUR", "19.99 EUR"},
		{5, "EUR", "0.05 EUR"},
		{0, "EUR", "0.00 EUR"},
		{-1999, "EUR", "-19.99 EUR"},
		{120_000, "JPY", "120,000 JPY"},
		{99_999, "KWD", "99.999 KWD"},
		{123_456_789, "USD", "1,234,567.89 USD"},
		{1<<63 - 1, "JPY", "9,223,372,036,854,775,807 JPY"},
		{1999, "ABC", `1999 minor units of "ABC"`},
	} {
		if got := Format(c.minor, c.code); got != c.want {
			t.Errorf("Format(%d, %q) = %q, want %q", c.minor, c.code, got, c.want)
		}
	}
}

func TestParseRejectsTooManyDecimals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		number, code string
		want         int64
		wantErr      string // part of the error; "" if there is none
	}{
		{"19.99", "EUR", 1999, ""},
		{"19.990", "EUR", 1999, ""},
		{"19.9", "EUR", 1990, ""},
		{"19", "EUR", 1900, ""},
		{"-0.01", "EUR", -1, ""},
		{"1200", "JPY", 1200, ""},
		{"1200.00", "JPY", 1200, ""},
		{"1.234", "KWD", 1234, ""},
		{"92233720368547758.07", "EUR", 1<<63 - 1, ""},
		{"19.999", "EUR", 0, "more decimals"},
		{"1200.5", "JPY", 0, "more decimals"},
		{"92233720368547758.08", "EUR", 0, "too large"},
		{"", "EUR", 0, "decimal number"},
		{"1e3", "EUR", 0, "decimal number"},
		{"NaN", "EUR", 0, "decimal number"},
		{"1,000.00", "EUR", 0, "decimal number"},
		{" 1", "EUR", 0, "decimal number"},
		{".5", "EUR", 0, "decimal number"},
		{"5.", "EUR", 0, "decimal number"},
		{"1", "ABC", 0, "ISO 4217"},
		{"1", "", 0, "ISO 4217"},
	} {
		got, err := Parse(c.number, c.code)
		if got != c.want || (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("Parse(%q, %q) = %d, %v, want %d and an error with %q", c.number, c.code, got, err, c.want, c.wantErr)
		}
	}
}

func TestLimitsApplyPerCurrency(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "0", " 0 "} {
		l := Limits{by: map[string]int64{"EUR": 1}}
		if err := l.UnmarshalText([]byte(text)); err != nil || l.Any() || l.String() != "0" {
			t.Errorf("%q is parsed to %v, error %v, want no limits", text, l, err)
		}
		if minor, limited := l.In("EUR"); limited {
			t.Errorf("%q limits EUR to %d, want no limit", text, minor)
		}
	}
	type limit struct {
		code  string
		minor int64
	}
	for text, want := range map[string][]limit{
		"EUR=1000.00,JPY=150000":            {{"EUR", 100_000}, {"JPY", 150_000}, {"USD", 0}}, // every USD order exceeds 0
		"EUR=1000, *=99.99":                 {{"EUR", 100_000}, {"USD", 9999}, {"JPY", 99}, {"KWD", 99_990}},
		"*=1000":                            {{"EUR", 100_000}, {"JPY", 1000}, {"KWD", 1_000_000}, {"IQD", 1_000_000}},
		"KWD=0.001,USD=10000000000000000.1": {{"KWD", 1}, {"USD", 1_000_000_000_000_000_010}},
	} {
		var l Limits
		if err := l.UnmarshalText([]byte(text)); err != nil || !l.Any() || l.String() != text {
			t.Errorf("%q is parsed to %v, error %v, want limits with the same text", text, l, err)
		}
		for _, w := range want {
			if got, limited := l.In(w.code); got != w.minor || !limited {
				t.Errorf("%q: In(%q) = %d, %v, want %d", text, w.code, got, limited, w.minor)
			}
		}
	}
	for text, wantErr := range map[string]string{
		"100000": "names no currency", "EUR": "names no currency", "EUR=1,EUR=2": "two limits", "*=1,*=2": "two limits",
		"EUR=": "decimal", "EUR=x": "decimal", "EUR=1.001": "more decimals", "JPY=1.5": "more decimals", "EUR=0": "more than 0",
		"EUR=-1": "more than 0",
		"DEM=1":  "ISO 4217", "eur=1": "ISO 4217", "*=": "decimal", "*=0": "more than 0", "*=0.99": "more than 0", "EUR=1,": "names no currency",
		"*=999999999999999999": "too large",
	} {
		var l Limits
		if err := l.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), wantErr) || l.Any() {
			t.Errorf("%q is parsed to %v, error %v, want no limits and an error with %q", text, l, err, wantErr)
		}
	}
}
