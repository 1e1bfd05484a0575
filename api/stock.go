package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// SKUInput is the path parameter of a SKU. It is exported for the same reason as IDInput.
type SKUInput struct {
	SKU string `path:"sku" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." doc:"SKU of the item." example:"SKU-1"`
}

type levelOutput struct {
	ETag string `header:"ETag" doc:"The level's version, in quotes."`
	Body Level
}

func newLevelOutput(l orderstore.Level) *levelOutput {
	return &levelOutput{ETag: `"` + l.Version() + `"`, Body: toLevel(l)}
}

type setInput struct {
	SKUInput

	IfMatch     string `header:"If-Match" doc:"ETag of the level that the count is about."`
	IfNoneMatch string `header:"If-None-Match" doc:"* for a SKU that has no level yet."`

	Body struct {
		OnHand int64 `json:"onHand" minimum:"0" maximum:"1000000000000" doc:"Counted units on hand, including reserved ones." example:"100"`
	}
}

// counted returns the version of the level that the count is about.
func (in *setInput) counted() (version string, err error) {
	quoted := len(in.IfMatch) > 2 && strings.HasPrefix(in.IfMatch, `"`) && strings.HasSuffix(in.IfMatch, `"`)
	switch {
	case in.IfMatch == "" && in.IfNoneMatch == "*":
		return orderstore.NewSKU, nil
	case quoted && in.IfNoneMatch == "":
		return strings.Trim(in.IfMatch, `"`), nil
	}
	return "", huma.NewError(http.StatusPreconditionRequired,
		`a precondition is required: If-Match with the ETag of the level, or "If-None-Match: *" for a SKU that has none`)
}

type levelsInput struct {
	Cursor string `query:"cursor" maxLength:"512" doc:"The next of the previous page."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Highest number of entries in the response."`
}

type levelsOutput struct {
	Body struct {
		Stock []Level `json:"stock" nullable:"false" doc:"Levels of the page."`
		Next  string  `json:"next,omitempty" doc:"Cursor of the next page; absent on the last."`
	}
}

func (s *server) stock(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "listStock", Method: http.MethodGet, Path: "/v1/stock", Tags: []string{"stock"},
		Summary: "List the stock of all SKUs",
		Errors:  []int{http.StatusBadRequest, http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *levelsInput) (*levelsOutput, error) {
		cursor, err := decodeCursor(in.Cursor)
		if err != nil {
			return nil, badCursor()
		}
		levels, next, err := s.Orders.ListLevels(ctx, cursor, in.Limit)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		out := &levelsOutput{}
		out.Body.Stock, out.Body.Next = make([]Level, len(levels)), encodeCursor(next)
		for i, l := range levels {
			out.Body.Stock[i] = toLevel(l)
		}
		return out, nil
	})
	huma.Register(h, huma.Operation{
		OperationID: "getStock", Method: http.MethodGet, Path: "/v1/stock/{sku}", Tags: []string{"stock"},
		Summary: "Read the stock of one SKU",
		Errors:  []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *SKUInput) (*levelOutput, error) {
		l, err := s.Orders.GetLevel(ctx, in.SKU)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return newLevelOutput(l), nil
	})
	huma.Register(h, huma.Operation{
		OperationID: "setStock", Method: http.MethodPut, Path: "/v1/stock/{sku}", Tags: []string{"stock"},
		Summary: "Set the counted stock of a SKU",
		Description: "The counted units become the stock on hand. Reserved units stay reserved, the others become available, " +
			"and the difference counts as received. " +
			"It returns 409 if more units are reserved than were counted, and 412 if the stock on hand has changed: then count again. " +
			"A repetition after a lost response changes nothing and returns the current level.",
		Errors: []int{
			http.StatusBadRequest, http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired,
			http.StatusUnprocessableEntity,
		},
	}, func(ctx context.Context, in *setInput) (*levelOutput, error) {
		version, err := in.counted()
		if err != nil {
			return nil, err
		}
		l, err := s.Orders.Count(ctx, in.SKU, in.Body.OnHand, version)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return newLevelOutput(l), nil
	})
}
