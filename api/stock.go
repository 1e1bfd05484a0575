package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/orderstore"
)

// SKUInput names a SKU.
type SKUInput struct {
	SKU string `path:"sku" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." example:"SKU-1"`
}

type levelOutput struct {
	ETag string `header:"ETag" doc:"The level's version, in quotes."`
	Body Level
}

func levelAnswer(l orderstore.Level) *levelOutput {
	return &levelOutput{`"` + l.Version() + `"`, toLevel(l)}
}

type setInput struct {
	SKUInput

	IfMatch     string `header:"If-Match" doc:"ETag of the level that was counted."`
	IfNoneMatch string `header:"If-None-Match" doc:"* for a SKU that has no level yet."`

	Body struct {
		OnHand int64 `json:"onHand" minimum:"0" maximum:"1000000000000" doc:"Pieces on the shelf, as counted, with those that orders hold." example:"100"`
	}
}

// against is the version of the level that was counted.
func (in *setInput) against() (version string, err error) {
	quoted := len(in.IfMatch) > 2 && strings.HasPrefix(in.IfMatch, `"`) && strings.HasSuffix(in.IfMatch, `"`)
	switch {
	case in.IfMatch == "" && in.IfNoneMatch == "*":
		return orderstore.NewSKU, nil
	case quoted && in.IfNoneMatch == "":
		return strings.Trim(in.IfMatch, `"`), nil
	}
	return "", huma.NewError(http.StatusPreconditionRequired, `say what was counted: If-Match with the ETag of the level, or "If-None-Match: *" for a SKU that has none`)
}

type levelsInput struct {
	Cursor string `query:"cursor" maxLength:"512" doc:"The next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type levelsOutput struct {
	Body struct {
		Stock []Level `json:"stock" nullable:"false"`
		Next  string  `json:"next,omitempty" doc:"Cursor of the next page; absent on the last."`
	}
}

func (s *server) stock(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "listStock", Method: http.MethodGet, Path: "/v1/stock", Tags: []string{"stock"}, Summary: "List the stock ledger",
		Errors: []int{http.StatusBadRequest, http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *levelsInput) (*levelsOutput, error) {
		cursor, err := decodeCursor(in.Cursor)
		if err != nil {
			return nil, badQuery("cursor", "is not the next of a page")
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
		OperationID: "getStock", Method: http.MethodGet, Path: "/v1/stock/{sku}", Tags: []string{"stock"}, Summary: "Read the ledger of one SKU",
		Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *SKUInput) (*levelOutput, error) {
		l, err := s.Orders.GetLevel(ctx, in.SKU)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return levelAnswer(l), nil
	})
	huma.Register(h, huma.Operation{
		OperationID: "setStock", Method: http.MethodPut, Path: "/v1/stock/{sku}", Tags: []string{"stock"}, Summary: "Record a stocktake",
		Description: "What was counted is on hand: what orders hold of it stays reserved, the rest becomes available, and the difference counts as received. " +
			"It is refused with 409 if orders hold more than was counted, and with 412 if what is on hand is not what was counted against any more: then count again. " +
			"Repeating the request after a lost answer changes nothing, and answers with the level as it is now.",
		Errors: []int{http.StatusBadRequest, http.StatusConflict, http.StatusPreconditionFailed, http.StatusPreconditionRequired, http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *setInput) (*levelOutput, error) {
		against, err := in.against()
		if err != nil {
			return nil, err
		}
		l, err := s.Orders.Count(ctx, in.SKU, in.Body.OnHand, against)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return levelAnswer(l), nil
	})
}
