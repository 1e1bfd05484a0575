#!/usr/bin/env bash
# golang.org/x/text/currency v0.44.0: a currency's "standard" decimals are not
# those of ISO 4217.
#
# The package reads codes with ParseISO and has a rounding kind Standard beside
# Cash. One would expect Standard.Rounding to give ISO 4217's minor unit, which is
# what payment providers count in. Seen: its table is that of CLDR 32 (2017). 22 of
# the active codes have other digits than in ISO 4217 (0 for IDR, COP, PKR, RSD,
# TZS; 0 for IQD, which has 3), MRU, SLE, VED, VES, XCG and ZWG are not known, and
# DEM, gone since 2002, is. 120000 minor units of IDR, 1,200.00, look like 120,000.
#
# Compared with github.com/bojanz/currency v1.5.1, whose digits are generated from
# the list of ISO 4217's maintenance agency.
# Needs Go and the Go module proxy. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	iso "github.com/bojanz/currency"
	"golang.org/x/text/currency"
)

func main() {
	differ, unknown := "", ""
	n := 0
	for _, code := range iso.GetCurrencyCodes() {
		want, _ := iso.GetDigits(code)
		unit, err := currency.ParseISO(code)
		if err != nil {
			unknown += " " + code
			continue
		}
		if got, _ := currency.Standard.Rounding(unit); got != int(want) {
			n++
			differ += fmt.Sprintf(" %s %d/%d", code, got, want)
		}
	}
	_, dem := currency.ParseISO("DEM")
	fmt.Printf("other digits (x/text / ISO 4217), %d:%s\nnot known:%s\nDEM is known: %v\n", n, differ, unknown, dem == nil)
	idr, _ := currency.Standard.Rounding(currency.MustParseISO("IDR"))
	iqd, _ := currency.Standard.Rounding(currency.MustParseISO("IQD"))
	_, ves := currency.ParseISO("VES")
	if n < 20 || idr != 0 || iqd != 0 || ves == nil || dem != nil {
		fmt.Println("no longer so")
		os.Exit(1)
	}
}
GO
cat >go.mod <<'MOD'
module example.com/currency

go 1.26

require (
	github.com/bojanz/currency v1.5.1
	golang.org/x/text v0.44.0
)
MOD
go mod tidy >/dev/null 2>&1
go run .
