package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Known has the ETags of the responses that a client has. It is exported because huma
// reads embedded parameters of exported types only.
type Known struct {
	Tags []string `header:"If-None-Match" doc:"ETag of a response that the client has. If it is still current, the response is 304 without a body."`
}

// tagged is a response with its ETag.
type tagged[T any] struct {
	ETag string `header:"ETag" doc:"Changes with the response."`
	Body T
}

// conditional returns body with its ETag, or 304 if the client has it. That saves the
// transfer, not the reads.
func conditional[T any](ctx context.Context, s *server, k Known, body T) (*tagged[T], error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, s.failed(ctx, fmt.Errorf("encode response: %w", err))
	}
	sum := sha256.Sum256(b)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	for _, t := range k.Tags {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		if t == tag || t == "*" {
			return nil, huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"Etag": {tag}})
		}
	}
	return &tagged[T]{ETag: tag, Body: body}, nil
}

// notModified documents the response without a body.
func notModified() map[string]*huma.Response {
	return map[string]*huma.Response{"304": {Description: "The client's copy is current."}}
}
