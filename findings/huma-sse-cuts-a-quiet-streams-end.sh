#!/usr/bin/env bash
# github.com/danielgtaylor/huma/v2 v2.37.2, package sse: a stream that is quiet for
# more than five seconds before its handler returns does not end; it breaks off.
#
# A handler sends one event, waits six seconds, and returns. One would expect the
# client to read the event and then the end of the body. Seen: it reads the event
# and then "unexpected EOF". Each send sets a write deadline of five seconds on the
# connection and leaves it there, so net/http cannot write the last chunk any more.
# A stream that ends at once after its event is read to its end.
#
# Needs Go and the Go module proxy; takes a quarter of a minute after the build.
# Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/sse"
)

type tick struct{ N int }

func main() {
	mux := http.NewServeMux()
	api := humago.New(mux, huma.DefaultConfig("streams", "1"))
	for path, quiet := range map[string]time.Duration{"/quiet": 6 * time.Second, "/brisk": 0} {
		sse.Register(api, huma.Operation{OperationID: path[1:], Method: http.MethodGet, Path: path}, map[string]any{"tick": tick{}},
			func(_ context.Context, _ *struct{}, send sse.Sender) {
				_ = send.Data(tick{1})
				time.Sleep(quiet)
			})
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	read := func(path string) error {
		res, err := http.Get(server.URL + path)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		fmt.Printf("GET %s: %q, then %v\n", path, body, err)
		return err
	}
	brisk, quiet := read("/brisk"), read("/quiet")
	if brisk != nil || !errors.Is(quiet, io.ErrUnexpectedEOF) {
		fmt.Println("no longer so")
		os.Exit(1)
	}
}
GO
cat >go.mod <<'MOD'
module example.com/streams

go 1.26

require github.com/danielgtaylor/huma/v2 v2.37.2
MOD
go mod tidy >/dev/null 2>&1
go run .
