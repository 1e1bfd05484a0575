package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/order"
)

// strict holds every body against the type that it is for, before it is
// decoded: see order.Strict. An operation without a body takes an empty object.
// Orders are order.Parse's to judge.
func strict(h huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		op := ctx.Operation()
		raw, err := io.ReadAll(ctx.BodyReader()) // from memory: bounded has read it
		if err != nil {
			_ = huma.WriteErr(h, ctx, http.StatusBadRequest, "the body cannot be read to its end")
			return
		}
		if len(raw) > 0 && !op.SkipValidateBody {
			of := bodyOf(h, op)
			if of == nil {
				of = reflect.TypeFor[struct{}]()
				if !object(raw) {
					_ = huma.WriteErr(h, ctx, http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{Location: "body", Message: "the operation takes no body"})
					return
				}
			}
			var faults []order.FieldError
			if raw, faults = order.Strict(raw, reflect.New(of).Interface()); len(faults) > 0 {
				_ = huma.WriteErr(h, ctx, http.StatusUnprocessableEntity, "validation failed", details(faults)...)
				return
			}
		}
		next(withBody{ctx, bytes.NewReader(raw)})
	}
}

// bodyOf is the type of an operation's body; nil: it has none.
func bodyOf(h huma.API, op *huma.Operation) reflect.Type {
	if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		return nil
	}
	return h.OpenAPI().Components.Schemas.TypeFromRef(op.RequestBody.Content["application/json"].Schema.Ref)
}

func object(raw []byte) bool {
	var o map[string]json.RawMessage
	return json.Unmarshal(raw, &o) == nil && o != nil
}

// details are faults of fields as a problem document has them.
func details(faults []order.FieldError) []error {
	all := make([]error, len(faults))
	for i, f := range faults {
		all[i] = &huma.ErrorDetail{Location: "body." + f.Field, Message: f.Message}
	}
	return all
}

// request is embedded under this name, for Context is one of its methods.
type request = huma.Context

// withBody is a request with a body that was read.
type withBody struct {
	request

	body io.Reader
}

func (c withBody) BodyReader() io.Reader { return c.body }

// decode is how huma reads JSON: what it cannot decode it would tell in terms
// of Go's types.
func decode(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what := "it"
		if wrong.Field != "" {
			what = wrong.Field
		}
		return errors.New(what + " must not be a JSON " + wrong.Value)
	}
	return err
}
