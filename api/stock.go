package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/activities/stock"
)

// SKUInput names a SKU.
type SKUInput struct {
	SKU string `path:"sku" minLength:"1" maxLength:"64" pattern:"^(\\.?\\.?[A-Za-z0-9_-]|\\.\\.\\.)[A-Za-z0-9._-]*$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ - and not . or .." example:"SKU-1"`
}

type levelOutput struct{ Body stock.Level }

type setInput struct {
	SKUInput

	Body struct {
		Available int64 `json:"available" minimum:"0" maximum:"1000000000000" doc:"Pieces on the shelf, as counted." example:"100"`
	}
}

type levelsInput struct {
	Cursor string `query:"cursor" maxLength:"512" doc:"The next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type levelsOutput struct {
	Body struct {
		Stock []stock.Level `json:"stock"`
		Next  string        `json:"next,omitempty" doc:"Cursor of the next page; absent on the last."`
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
		out.Body.Stock, out.Body.Next = levels, encodeCursor(next)
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
		return &levelOutput{l}, nil
	})
	huma.Register(h, huma.Operation{
		OperationID: "setStock", Method: http.MethodPut, Path: "/v1/stock/{sku}", Tags: []string{"stock"}, Summary: "Set what is on the shelf",
		Description: "As a stocktake does: what is reserved or sold stays, the difference counts as received.",
		Errors:      []int{http.StatusBadRequest, http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *setInput) (*levelOutput, error) {
		l, err := s.Orders.SetAvailable(ctx, in.SKU, in.Body.Available)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		return &levelOutput{l}, nil
	})
}
