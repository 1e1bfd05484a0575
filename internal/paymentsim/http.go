package paymentsim

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/ordersaga/ordersaga/internal/httpserve"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Handler serves the provider's API:
//
//	POST /v1/charges   Idempotency-Key; {orderId, amount, currency, token}
//	POST /v1/refunds   Idempotency-Key; {orderId, chargeKey or chargeId}
//	GET  /v1/charges   ?orderId= ?since= ?cursor= ?limit=
//	GET  /v1/refunds   ?orderId= ?cursor= ?limit=
//	POST /v1/heal      ?token=
//	POST /v1/forget
//	GET  /healthz      the process runs
//	GET  /readyz       503 while nothing can be recorded in the ledger
//
// Its responses are as in docs/payment-provider.md. /v1/heal and /v1/forget control the
// simulation. The API key, if there is one, is required for charges and refunds only.
func (p *Provider) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(tracing.Route)
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { httpserve.WriteHealth(w, nil) })
	r.Get("/readyz", func(w http.ResponseWriter, _ *http.Request) { httpserve.WriteHealth(w, p.Ready()) })
	r.Group(func(r chi.Router) {
		r.Use(p.authenticate, p.waitForSpace)
		r.Post("/v1/charges", p.postCharge)
		r.Post("/v1/refunds", p.postRefund)
		r.Get("/v1/charges", func(w http.ResponseWriter, r *http.Request) { p.getList(w, r, "charges", entry.charged) })
		r.Get("/v1/refunds", func(w http.ResponseWriter, r *http.Request) {
			p.getList(w, r, "refunds", func(e entry) bool { return e.Refunded })
		})
	})
	r.Post("/v1/heal", func(w http.ResponseWriter, r *http.Request) {
		p.Heal(r.URL.Query().Get("token"))
		w.WriteHeader(http.StatusNoContent)
	})
	r.With(p.waitForSpace).Post("/v1/forget", func(w http.ResponseWriter, r *http.Request) {
		if err := p.ExpireKeys(); err != nil {
			p.fail(w, r, notWritten(err))
			return
		}
		p.respond(w, r, http.StatusNoContent, nil)
	})
	return r
}

// authenticate rejects requests without the API key, if there is one.
func (p *Provider) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.opt.Key != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+p.opt.Key)) == 0 {
			p.fail(w, r, newFailure(http.StatusUnauthorized, "unauthorized", "the API key is missing or wrong"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// waitForSpace holds requests back while the disk is full.
func (p *Provider) waitForSpace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.journal.WaitForSpace(r.Context()); err != nil {
			p.fail(w, r, notWritten(err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// postCharge handles POST /v1/charges.
func (p *Provider) postCharge(w http.ResponseWriter, r *http.Request) {
	var body chargeRequest
	key, ok := p.read(w, r, &body)
	if !ok {
		return
	}
	if body.OrderID == "" || body.Amount < 0 || len(body.Currency) != 3 || body.Token == "" {
		p.fail(w, r, newFailure(400, "invalid_request", "orderId, amount (0 or more), currency (3 characters) and token are required"))
		return
	}
	if body.Token == "tok_timeout" {
		select {
		case <-r.Context().Done():
		case <-time.After(p.opt.HangFor):
			p.fail(w, r, newFailure(504, "timeout", "the provider took too long"))
		}
		return
	}
	e, lost, f := p.charge(key, body)
	if f != nil {
		p.fail(w, r, f)
		return
	}
	if lost {
		panic(http.ErrAbortHandler) // closes the connection without a response
	}
	p.respond(w, r, 200, map[string]any{"id": e.ID, "orderId": e.OrderID, "amount": e.Amount, "currency": e.Currency, "status": "succeeded"})
}

// postRefund handles POST /v1/refunds.
func (p *Provider) postRefund(w http.ResponseWriter, r *http.Request) {
	var body refundRequest
	if _, ok := p.read(w, r, &body); !ok {
		return
	}
	if body.OrderID == "" || (body.ChargeKey == "") == (body.ChargeID == "") {
		p.fail(w, r, newFailure(400, "invalid_request", "orderId and one of chargeKey and chargeId are required"))
		return
	}
	e, f := p.refund(body)
	switch {
	case f != nil:
		p.fail(w, r, f)
	case e.Refunded:
		p.respond(
			w,
			r,
			200,
			map[string]any{
				"id":       e.RefundID,
				"chargeId": e.ID,
				"orderId":  e.OrderID,
				"amount":   e.Amount,
				"currency": e.Currency,
				"status":   "succeeded",
			},
		)
	default: // voided, or declined: there is nothing to refund
		p.respond(w, r, 200, map[string]any{"id": "", "orderId": e.OrderID, "status": "voided"})
	}
}

// getList handles GET of a list, whose name in the response is name.
func (p *Provider) getList(w http.ResponseWriter, r *http.Request, name string, keep func(entry) bool) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > 1000 {
		limit = 1000
	}
	var since time.Time // zero means no limit
	if at := q.Get("since"); at != "" {
		since, err = time.Parse(time.RFC3339Nano, at)
		if err != nil {
			p.fail(w, r, newFailure(400, "invalid_request", "since must be an RFC 3339 time"))
			return
		}
	}
	list, next := p.list(q.Get("orderId"), q.Get("cursor"), limit, func(e entry) bool { return keep(e) && !e.CreatedAt.Before(since) })
	p.respond(w, r, 200, map[string]any{name: list, "next": next})
}

// read decodes the body and returns the idempotency key. If it cannot, it responds with 400
// and returns false.
func (p *Provider) read(w http.ResponseWriter, r *http.Request, body any) (key string, ok bool) {
	key = r.Header.Get("Idempotency-Key")
	if key == "" || len(key) > 128 {
		p.fail(w, r, newFailure(400, "invalid_request", "header Idempotency-Key must have 1 to 128 characters"))
		return "", false
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(body); err != nil {
		p.fail(w, r, newFailure(400, "invalid_request", "body: "+err.Error()))
		return "", false
	}
	return key, true
}

// fail responds with a failure.
func (p *Provider) fail(w http.ResponseWriter, r *http.Request, f *failure) {
	if f.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	p.respond(w, r, f.status, f)
}

// respond writes a JSON response, once everything that it may show is durable: a charge that
// was made by another request too. A nil body is none.
func (p *Provider) respond(w http.ResponseWriter, r *http.Request, status int, body any) {
	if err := p.journal.WaitAll(r.Context()); err != nil {
		f := notWritten(err)
		status, body = f.status, f
	}
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that the client has disconnected
}
