#!/usr/bin/env bash
# github.com/aws/aws-sdk-go-v2/feature/dynamodb/expression v1.10.9: an update or an
# expression that is derived from a common one writes into the common one, and so
# into its siblings.
#
# UpdateBuilder and Builder are values; each method takes one by value and returns
# one. A base update, Set("seen"), is made once. For order 1 it is extended by
# Set("paid"), for order 2 by Remove("hold"). Likewise a base query (a key
# condition) is extended by WithFilter for one reader. One would expect that base
# and siblings stay as they were, as they do with ConditionBuilder.And of the same
# package. Seen: order 2 is marked as paid too, the base has grown, and the plain
# query is filtered. The values share one map inside.
#
# Needs Go and the Go module proxy. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	e "github.com/aws/aws-sdk-go-v2/feature/dynamodb/expression"
)

// show gives an expression with its names put back in.
func show(text *string, x e.Expression) string {
	s := *text
	for _, k := range slices.Sorted(maps.Keys(x.Names())) {
		s = strings.ReplaceAll(s, k, x.Names()[k])
	}
	return strings.TrimSpace(strings.ReplaceAll(s, "\n", " "))
}

func main() {
	base := e.Set(e.Name("seen"), e.Value(7))
	order1 := base.Set(e.Name("paid"), e.Value(true))
	order2 := base.Remove(e.Name("hold"))
	for _, u := range []e.UpdateBuilder{order1, order2, base} {
		x := must(e.NewBuilder().WithUpdate(u).Build())
		fmt.Println(show(x.Update(), x))
	}
	query := e.NewBuilder().WithKeyCondition(e.Key("customer").Equal(e.Value("c-1")))
	_ = query.WithFilter(e.Name("status").Equal(e.Value("open")))
	x := must(query.Build())
	fmt.Println("filter of the plain query:", x.Filter() != nil)
	cond := e.Name("a").Equal(e.Value(1)).And(e.Name("b").Equal(e.Value(2)))
	_ = cond.And(e.Name("c").Equal(e.Value(3)))
	x = must(e.NewBuilder().WithCondition(cond).Build())
	fmt.Println("a condition stays as it is:", show(x.Condition(), x))
}

func must[T any](v T, err error) T {
	if err == nil {
		return v
	}
	panic(err)
}
GO
cat >go.mod <<'MOD'
module example.com/builders

go 1.26

require github.com/aws/aws-sdk-go-v2/feature/dynamodb/expression v1.10.9
MOD
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
go run . | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
REMOVE hold SET seen = :0, paid = :1
REMOVE hold SET seen = :0, paid = :1
REMOVE hold SET seen = :0, paid = :1
filter of the plain query: true
a condition stays as it is: (a = :0) AND (b = :1)
WANT
