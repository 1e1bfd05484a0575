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

// strict checks the body of every request against the type of the operation's body, before
// huma decodes it: see order.Strict. An operation without a body accepts an empty object.
// order.Parse checks the body of an order.
func strict(h huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		op := ctx.Operation()
		raw, err := io.ReadAll(ctx.BodyReader()) // from memory: bounded has read it
		if err != nil {
			_ = huma.WriteErr(h, ctx, http.StatusBadRequest, unreadableBody)
			return
		}
		if len(raw) > 0 && !op.SkipValidateBody {
			var faults []error
			raw, faults = checkBody(raw, bodyType(h, op))
			if len(faults) > 0 {
				_ = huma.WriteErr(h, ctx, http.StatusUnprocessableEntity, invalid, faults...)
				return
			}
		}
		next(withBody{request: ctx, body: bytes.NewReader(raw)})
	}
}

// checkBody returns the body with its numbers normalized, and its faults. want is nil for
// an operation without a body.
func checkBody(raw []byte, want reflect.Type) ([]byte, []error) {
	if want == nil {
		if !isObject(raw) {
			return raw, []error{&huma.ErrorDetail{Location: "body", Message: "the operation takes no body"}}
		}
		want = reflect.TypeFor[struct{}]()
	}
	raw, faults := order.Strict(raw, reflect.New(want).Interface())
	return raw, fieldErrors(faults)
}

// bodyType returns the type of an operation's body; nil if it has none.
func bodyType(h huma.API, op *huma.Operation) reflect.Type {
	if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		return nil
	}
	return h.OpenAPI().Components.Schemas.TypeFromRef(op.RequestBody.Content["application/json"].Schema.Ref)
}

func isObject(raw []byte) bool {
	var o map[string]json.RawMessage
	return json.Unmarshal(raw, &o) == nil && o != nil
}

// request names huma.Context so that it can be embedded: Context is one of its methods.
type request = huma.Context

// withBody is a request whose body has been read.
type withBody struct {
	request

	body io.Reader
}

func (c withBody) BodyReader() io.Reader { return c.body }

// decode decodes JSON for huma, whose own errors name Go types.
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
