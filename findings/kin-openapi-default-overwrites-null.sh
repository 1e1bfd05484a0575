#!/usr/bin/env bash
# github.com/getkin/kin-openapi v0.153.0 (openapi3filter): a null that a client sends
# is replaced by the property's default in the request that the handler reads, even
# where null is allowed; and with 3.1 as the document's version no default is set.
#
# ValidateRequest sets defaults in a body. An order's "courier" is nullable and has a
# default. A PATCH sets courier to null, so that no courier comes. One would expect
# that null stays, for OpenAPI 3.0.3 says that a default stands for a value that is
# not provided, and Ajv 8's useDefaults keeps it too; and that the same document as
# 3.1.0 gives the same bodies. Seen: 3.0.3 turns the null into the default courier.
# 3.1.0 keeps it, but leaves missing properties missing, and still sets the default
# of a query parameter.
#
# Needs Go and the Go module proxy. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'MOD'
module example.com/defaults

go 1.26

require github.com/getkin/kin-openapi v0.153.0
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

func main() {
	for version, null := range map[string]string{"3.0.3": "type: string, nullable: true", "3.1.0": "type: [string, 'null']"} {
		doc, err := openapi3.NewLoader().LoadFromData([]byte(`{openapi: ` + version + `, info: {title: shop, version: v1}, paths: {/order: {patch: {
			parameters: [{name: notify, in: query, schema: {type: boolean, default: true}}],
			requestBody: {content: {application/json: {schema: {type: object, properties: {
				courier: {` + null + `, default: van}, qty: {type: integer}}}}}},
			responses: {"204": {description: changed}}}}}}`))
		must(err)
		must(doc.Validate(context.Background()))
		router, err := gorillamux.NewRouter(doc)
		must(err)
		for _, body := range []string{`{"courier":null,"qty":2}`, `{"qty":2}`} {
			req := httptest.NewRequest("PATCH", "/order", strings.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			route, _, _ := router.FindRoute(req)
			refused := openapi3filter.ValidateRequest(context.Background(), &openapi3filter.RequestValidationInput{Request: req, Route: route}) != nil
			read, _ := io.ReadAll(req.Body)
			fmt.Printf("%s: sent %s, refused %t, read ?%s %s\n", version, body, refused, req.URL.RawQuery, read)
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy >/dev/null 2>&1
go run . | sort | tee seen
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
3.0.3: sent {"courier":null,"qty":2}, refused false, read ?notify=true {"courier":"van","qty":2}
3.0.3: sent {"qty":2}, refused false, read ?notify=true {"courier":"van","qty":2}
3.1.0: sent {"courier":null,"qty":2}, refused false, read ?notify=true {"courier":null,"qty":2}
3.1.0: sent {"qty":2}, refused false, read ?notify=true {"qty":2}
WANT
