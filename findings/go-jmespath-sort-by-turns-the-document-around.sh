#!/usr/bin/env bash
# github.com/jmespath/go-jmespath v0.4.0, and its community's
# github.com/jmespath-community/go-jmespath v1.1.1: a query with sort_by reorders the
# document that is asked.
#
# JMESPath is a query language; nothing in its specification changes the data. An order's
# lines are asked for the cheapest, sort_by(lines, &price)[0].sku, between two questions
# for the first line, lines[0].sku. One would expect the same first line twice, as
# jmespath 1.1.0 for Python says, from the same document. Seen: the first line is another
# one after the question, within one expression and for all who hold the document; lines
# that are matched by their place to parcels, say, are then matched wrongly.
#
# https://jmespath.org/specification.html#sort-by
# Needs Go and the Go module proxy, Python 3 with venv, and PyPI.
# Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check jmespath==1.1.0 >/dev/null
cat >order.json <<'JSON'
{"lines": [{"sku": "desk", "price": 300}, {"sku": "lamp", "price": 40}, {"sku": "bulb", "price": 5}]}
JSON
printf '[lines[0].sku, sort_by(lines, &price)[0].sku, lines[0].sku]' >query
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	community "github.com/jmespath-community/go-jmespath"
	"github.com/jmespath/go-jmespath"
)

func main() {
	query := string(must(os.ReadFile("query")))
	ask := map[string]func(string, any) (any, error){"go-jmespath": jmespath.Search}
	ask["community"] = func(query string, data any) (any, error) { return community.Search(query, data) }
	for name, search := range ask {
		var order any
		must(0, json.Unmarshal(must(os.ReadFile("order.json")), &order))
		fmt.Println(name, must(search(query, order)), "and then", must(search("lines[*].sku", order)))
	}
}

func must[T any](v T, err error) T {
	if err == nil {
		return v
	}
	panic(err)
}
GO
cat >go.mod <<'MOD'
module example.com/query

go 1.26

require github.com/jmespath-community/go-jmespath v1.1.1

require github.com/jmespath/go-jmespath v0.4.0
MOD
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
go build -o ask .
{
	./ask
	env/bin/python -c '
import json, jmespath
order = json.load(open("order.json"))
show = lambda query: "[" + " ".join(jmespath.search(query, order)) + "]"
print("python", show(open("query").read()), "and then", show("lines[*].sku"))'
} | sort | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
community [desk bulb bulb] and then [bulb lamp desk]
go-jmespath [desk bulb bulb] and then [bulb lamp desk]
python [desk bulb desk] and then [desk lamp bulb]
WANT
