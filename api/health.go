package api

import (
	"context"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

type healthOutput struct {
	Body struct {
		Status string `json:"status" doc:"ok. Errors are problem documents." example:"ok"`
	}
}

// readyTimeout is how long /readyz waits for dependencies that do not respond.
const readyTimeout = 5 * time.Second

// noToken marks an operation that requires no token in the OpenAPI document.
var noToken = []map[string][]string{}

func (s *server) health(h huma.API) {
	ok := &healthOutput{}
	ok.Body.Status = "ok"
	op := func(id, path, summary string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"health"}, Security: noToken, Summary: summary,
		}
	}
	huma.Register(h, op("healthz", "/healthz", "Check that the process runs"),
		func(context.Context, *struct{}) (*healthOutput, error) { return ok, nil })
	readyz := op("readyz", "/readyz", "Check that the process can do its work")
	readyz.Errors = []int{http.StatusServiceUnavailable}
	huma.Register(h, readyz,
		func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
			ctx, cancel := context.WithTimeout(ctx, readyTimeout)
			defer cancel()
			err := s.Ready(ctx)
			if err != nil {
				s.Logger.Warn().Err(err).Msg("not ready")
				return nil, huma.Error503ServiceUnavailable("not ready: " + err.Error())
			}
			return ok, nil
		})
}

var page = template.Must(template.New("docs").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>ordersaga API</title>
<h1>ordersaga API</h1><p>{{.Info.Description}}</p><p>The OpenAPI document: <a href="/openapi.json">/openapi.json</a></p>
<table><thead><tr><th>Operation<th>What it does</tr></thead><tbody>
{{range .Rows}}<tr><td><code>{{.Method}} {{.Path}}</code><td>{{.Summary}}. {{.Description}}</tr>
{{end}}</tbody></table></html>`))

// docs returns a page that lists the operations. It loads nothing from other sites.
func docs(doc *huma.OpenAPI) http.HandlerFunc {
	var rows []*huma.Operation
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
			if op != nil {
				rows = append(rows, op)
			}
		}
	}
	slices.SortFunc(rows, func(a, b *huma.Operation) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = page.Execute(w, map[string]any{"Info": doc.Info, "Rows": rows}) // the client may be gone
	}
}
