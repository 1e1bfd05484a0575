package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/reconcile"
)

const (
	reconcilePath = "/v1/reconcile"
	reconcileWait = 20 * time.Second
)

// reconcileOutput has a Location while the run continues.
type reconcileOutput struct {
	Status   int
	Location string `header:"Location" hidden:"true"`
	Body     reconcile.Reconciliation
}

type reconciliationOutput struct{ Body reconcile.Reconciliation }

func (s *server) reconcile(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "reconcile", Method: http.MethodPost, Path: reconcilePath, Tags: []string{"actions"},
		Summary: "Run the reconciler now",
		Description: "Compares orders, reservations and charges, repairs what is inconsistent and reports the rest. " +
			"It skips what has changed within the grace period (--reconcile-grace, five minutes). The worker also runs it periodically. " +
			"A run that takes longer than twenty seconds continues. GET returns its progress, or its error, in the process that runs it.",
		Responses: map[string]*huma.Response{"202": {
			Description: "The run continues.", Headers: map[string]*huma.Param{"Location": {Schema: &huma.Schema{Type: "string"}}},
			Content: map[string]*huma.MediaType{
				"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/Reconciliation"}},
			},
		}},
	}, func(ctx context.Context, _ *struct{}) (*reconcileOutput, error) {
		late := time.NewTimer(cmp.Or(s.ReconcileWait, reconcileWait))
		defer late.Stop()
		ended, now := s.Reconciler.Ask()
		select {
		case <-ended:
		case <-late.C:
		case <-ctx.Done():
			return nil, s.failed(ctx, ctx.Err())
		}
		out := &reconcileOutput{Status: http.StatusOK, Body: now()}
		switch {
		case out.Body.Running:
			out.Status, out.Location = http.StatusAccepted, reconcilePath
		case out.Body.Error != "":
			zerolog.Ctx(ctx).Error().Str("error", out.Body.Error).Msg("reconciliation failed")
			return nil, huma.Error500InternalServerError("the reconciliation failed (request " + requestIDOf(ctx) + "): " + out.Body.Error)
		}
		return out, nil
	})
	huma.Register(h, huma.Operation{
		OperationID: "getReconciliation", Method: http.MethodGet, Path: reconcilePath, Tags: []string{"actions"},
		Summary: "Read the last reconciliation", Description: "The last run that was requested, in this process.",
	}, func(context.Context, *struct{}) (*reconciliationOutput, error) {
		return &reconciliationOutput{Body: s.Reconciler.Latest()}, nil
	})
}
