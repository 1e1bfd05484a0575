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

// Known is what a client has already. It is exported because huma reads
// embedded parameters of exported types only.
type Known struct {
	Tags []string `header:"If-None-Match" doc:"ETag of an answer that the client has: if it still holds, the answer is 304 without a body."`
}

// tagged is an answer with its tag.
type tagged[T any] struct {
	ETag string `header:"ETag" doc:"Changes with the answer."`
	Body T
}

// answer tags body, or answers 304 to a client that has it. The work of reading
// is done in any case; what is saved is the transport.
func answer[T any](ctx context.Context, s *server, k Known, body T) (*tagged[T], error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, s.failed(ctx, fmt.Errorf("encode answer: %w", err))
	}
	sum := sha256.Sum256(b)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	for _, t := range k.Tags {
		if t = strings.TrimPrefix(strings.TrimSpace(t), "W/"); t == tag || t == "*" {
			return nil, huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"Etag": {tag}})
		}
	}
	return &tagged[T]{tag, body}, nil
}

// unchanged documents the answer without a body.
func unchanged() map[string]*huma.Response {
	return map[string]*huma.Response{"304": {Description: "What the client has still holds."}}
}
