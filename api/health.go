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
		Status string `json:"status" example:"ok"`
	}
}

// readyTimeout: who asks wants to know soon, also when nothing answers.
const readyTimeout = 5 * time.Second

// noToken says in the document that an operation asks for none.
var noToken = []map[string][]string{}

func (s *server) health(h huma.API) {
	ok := &healthOutput{}
	ok.Body.Status = "ok"
	huma.Register(h, huma.Operation{OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Tags: []string{"health"}, Security: noToken, Summary: "Says whether the process lives"},
		func(context.Context, *struct{}) (*healthOutput, error) { return ok, nil })
	huma.Register(h, huma.Operation{OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Tags: []string{"health"}, Security: noToken, Summary: "Says whether it can do its work", Errors: []int{http.StatusServiceUnavailable}},
		func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
			ctx, cancel := context.WithTimeout(ctx, readyTimeout)
			defer cancel()
			if err := s.Ready(ctx); err != nil {
				s.Logger.Warn().Err(err).Msg("not ready")
				return nil, huma.Error503ServiceUnavailable("not ready: " + err.Error())
			}
			return ok, nil
		})
}

var page = template.Must(template.New("docs").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>ordersaga API</title>
<h1>ordersaga API</h1><p>{{.Info.Description}}</p><p>The whole document: <a href="/openapi.json">/openapi.json</a></p>
<table><thead><tr><th>Operation<th>What it does</tr></thead><tbody>
{{range .Rows}}<tr><td><code>{{.Method}} {{.Path}}</code><td>{{.Summary}}. {{.Description}}</tr>
{{end}}</tbody></table></html>`))

// docs lists the operations, without anything from elsewhere.
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
