#!/usr/bin/env bash
# github.com/Rhymond/go-money v1.0.15: Allocate gives cents to a party whose ratio is 0.
#
# A discount of 1.00 is shared among an order's lines by their prices: a free sample, 19.99
# and 5.00. Then 0.10 is shared among six sellers, of whom three sold nothing. The readme
# says that left-over pennies go round among the parties. One would expect that they go
# round among those who have a share: moneyphp/money calls the other a bug (issue 436)
# and has fixed it, dinero.js 2.0.2 (used for comparison) keeps to it, and so does the
# package's own test, of 10 by 0 and 100, where nothing is left over. Seen: cents go to the
# first in the list, whatever their ratio. The free sample is to be paid with -0.01, and
# a seller without a sale gets the cent that one with a sale gets if the list has another
# order. A refund (-1.00) does the same.
#
# Needs Go, Node and their registries. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module example.com/shares

go 1.26

require github.com/Rhymond/go-money v1.0.15
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/Rhymond/go-money"
)

func main() {
	prices := []int{0, 1999, 500}
	fmt.Println("go-money, discount:", share(100, prices...))
	fmt.Println("go-money, refund:", share(-100, prices...))
	fmt.Println("go-money, sellers:", share(10, 0, 0, 0, 5, 5, 5))
	fmt.Println("go-money, the same sellers in another order:", share(10, 5, 5, 5, 0, 0, 0))
	sample, err := money.New(0, money.EUR).Subtract(parties(100, prices...)[0])
	fmt.Println("to pay for the free sample:", sample.AsMajorUnits(), err)
}

func share(cents int64, ratios ...int) (out []int64) {
	for _, party := range parties(cents, ratios...) {
		out = append(out, party.Amount())
	}
	return out
}

func parties(cents int64, ratios ...int) []*money.Money {
	list, err := money.New(cents, money.EUR).Allocate(ratios...)
	if err != nil {
		panic(err)
	}
	return list
}
GO
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
mkdir js && cd js && echo '{"private": true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts dinero.js@2.0.2 >/dev/null
cat >share.mjs <<'JS'
import { allocate, dinero, toSnapshot } from 'dinero.js';
import { EUR } from 'dinero.js/currencies';

const parts = allocate(dinero({ amount: 100, currency: EUR }), [0, 1999, 500]);
console.log('dinero.js, discount:', JSON.stringify(parts.map((part) => toSnapshot(part).amount)));
JS
cd ..
{ go run . && node js/share.mjs; } | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
go-money, discount: [1 79 20]
go-money, refund: [-1 -79 -20]
go-money, sellers: [1 0 0 3 3 3]
go-money, the same sellers in another order: [4 3 3 0 0 0]
to pay for the free sample: -0.01 <nil>
dinero.js, discount: [0,80,20]
WANT
