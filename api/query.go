package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// checkQuery rejects what net/url drops silently: a query that cannot be parsed, and all
// but the first value of a parameter. It also rejects a parameter without a value. Huma
// treats that as absent, so an empty filter would select everything.
func checkQuery(h huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		u := ctx.URL()
		values, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			fault := &huma.ErrorDetail{Location: "query", Message: err.Error()}
			_ = huma.WriteErr(h, ctx, http.StatusBadRequest, "the query cannot be parsed", fault)
			return
		}
		var faults []error
		for _, name := range slices.Sorted(maps.Keys(values)) {
			fault := ""
			switch {
			case len(values[name]) > 1:
				fault = givenTwice
			case values.Get(name) == "":
				fault = "is empty; leave it out, or give it a value"
			case isNumeric(ctx.Operation(), name) && !json.Valid([]byte(values.Get(name))):
				fault = "is not a number such as 2 or 0.5"
			}
			if fault != "" {
				faults = append(faults, &huma.ErrorDetail{Location: "query." + name, Message: fault})
			}
		}
		if faults != nil {
			_ = huma.WriteErr(h, ctx, http.StatusUnprocessableEntity, invalid, faults...)
			return
		}
		next(ctx)
	}
}

// givenTwice is the fault of a parameter or a header with several values.
const givenTwice = "is given more than once"

// isNumeric reports whether a query parameter of an operation is a number with
// fractions. Huma parses it as Go writes numbers, which allows 1_0.
func isNumeric(op *huma.Operation, name string) bool {
	return slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool {
		return p.In == "query" && p.Name == name && p.Schema.Type == huma.TypeNumber
	})
}

// withoutValues makes huma's problems like ours: one about the body names it, and none
// repeats what was sent, which may be long or secret.
func withoutValues(_ huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	for _, e := range p.Errors {
		e.Value = nil
	}
	if p.Status == http.StatusBadRequest && len(p.Errors) == 0 {
		p.Errors = []*huma.ErrorDetail{{Location: "body", Message: p.Detail}}
	}
	return v, nil
}
