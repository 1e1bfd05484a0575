package paymentsim

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

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
//	GET  /healthz
//
// Its responses are as in docs/payment-provider.md. /v1/heal and /v1/forget control the
// simulation. The API key, if there is one, is required for charges and refunds only.
func (p *Provider) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(tracing.Route)
	r.Group(func(r chi.Router) {
		r.Use(p.authenticate)
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
	r.Post("/v1/forget", func(w http.ResponseWriter, _ *http.Request) {
		if err := p.ExpireKeys(); err != nil {
			fail(w, newFailure(500, "book_not_written", err.Error()))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { respond(w, 200, map[string]string{"status": "ok"}) })
	return r
}

// authenticate rejects requests without the API key, if there is one.
func (p *Provider) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.opt.Key != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+p.opt.Key)) == 0 {
			fail(w, newFailure(http.StatusUnauthorized, "unauthorized", "the API key is missing or wrong"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// postCharge handles POST /v1/charges.
func (p *Provider) postCharge(w http.ResponseWriter, r *http.Request) {
	var body chargeRequest
	key, ok := read(w, r, &body)
	if !ok {
		return
	}
	if body.OrderID == "" || body.Amount < 0 || len(body.Currency) != 3 || body.Token == "" {
		fail(w, newFailure(400, "invalid_request", "orderId, amount (0 or more), currency (3 characters) and token are required"))
		return
	}
	if body.Token == "tok_timeout" {
		select {
		case <-r.Context().Done():
		case <-time.After(p.opt.HangFor):
			fail(w, newFailure(504, "timeout", "the provider took too long"))
		}
		return
	}
	e, lost, f := p.charge(key, body)
	if f != nil {
		fail(w, f)
		return
	}
	if lost {
		panic(http.ErrAbortHandler) // closes the connection without a response
	}
	respond(w, 200, map[string]any{"id": e.ID, "orderId": e.OrderID, "amount": e.Amount, "currency": e.Currency, "status": "succeeded"})
}

// postRefund handles POST /v1/refunds.
func (p *Provider) postRefund(w http.ResponseWriter, r *http.Request) {
	var body refundRequest
	if _, ok := read(w, r, &body); !ok {
		return
	}
	if body.OrderID == "" || (body.ChargeKey == "") == (body.ChargeID == "") {
		fail(w, newFailure(400, "invalid_request", "orderId and one of chargeKey and chargeId are required"))
		return
	}
	e, f := p.refund(body)
	switch {
	case f != nil:
		fail(w, f)
	case e.Refunded:
		respond(
			w,
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
		respond(w, 200, map[string]any{"id": "", "orderId": e.OrderID, "status": "voided"})
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
			fail(w, newFailure(400, "invalid_request", "since must be an RFC 3339 time"))
			return
		}
	}
	list, next := p.list(q.Get("orderId"), q.Get("cursor"), limit, func(e entry) bool { return keep(e) && !e.CreatedAt.Before(since) })
	respond(w, 200, map[string]any{name: list, "next": next})
}

// read decodes the body and returns the idempotency key. If it cannot, it responds with 400
// and returns false.
func read(w http.ResponseWriter, r *http.Request, body any) (key string, ok bool) {
	key = r.Header.Get("Idempotency-Key")
	if key == "" || len(key) > 128 {
		fail(w, newFailure(400, "invalid_request", "header Idempotency-Key must have 1 to 128 characters"))
		return "", false
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(body); err != nil {
		fail(w, newFailure(400, "invalid_request", "body: "+err.Error()))
		return "", false
	}
	return key, true
}

// fail responds with a failure.
func fail(w http.ResponseWriter, f *failure) {
	if f.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	respond(w, f.status, f)
}

// respond writes a JSON response.
func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that the client has disconnected
}
