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
// The answers are those of docs/payment-provider.md.
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
		if err := p.Forget(); err != nil {
			fail(w, &failure{500, "book_not_written", err.Error()})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, map[string]string{"status": "ok"}) })
	return r
}

func (p *Provider) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.opt.Key != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+p.opt.Key)) == 0 {
			fail(w, &failure{http.StatusUnauthorized, "unauthorized", "the API key is missing or wrong"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (p *Provider) postCharge(w http.ResponseWriter, r *http.Request) {
	var body chargeRequest
	key, ok := read(w, r, &body)
	if !ok {
		return
	}
	if body.OrderID == "" || body.Amount < 0 || len(body.Currency) != 3 || body.Token == "" {
		fail(w, &failure{400, "invalid_request", "orderId, amount (0 or more), currency (3 letters) and token are needed"})
		return
	}
	if body.Token == "tok_timeout" {
		select {
		case <-r.Context().Done():
		case <-time.After(p.opt.HangFor):
			fail(w, &failure{504, "timeout", "the provider took too long"})
		}
		return
	}
	e, lost, f := p.charge(key, body)
	if f != nil {
		fail(w, f)
		return
	}
	if lost {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	answer(w, 200, map[string]any{"id": e.ID, "orderId": e.OrderID, "amount": e.Amount, "currency": e.Currency, "status": "succeeded"})
}

func (p *Provider) postRefund(w http.ResponseWriter, r *http.Request) {
	var body refundRequest
	if _, ok := read(w, r, &body); !ok {
		return
	}
	if body.OrderID == "" || (body.ChargeKey == "") == (body.ChargeID == "") {
		fail(w, &failure{400, "invalid_request", "orderId and one of chargeKey and chargeId are needed"})
		return
	}
	e, f := p.refund(body)
	switch {
	case f != nil:
		fail(w, f)
	case e.Refunded:
		answer(w, 200, map[string]any{"id": e.RefundID, "chargeId": e.ID, "orderId": e.OrderID, "amount": e.Amount, "currency": e.Currency, "status": "succeeded"})
	default: // voided, or declined: there is nothing to give back
		answer(w, 200, map[string]any{"id": "", "orderId": e.OrderID, "status": "voided"})
	}
}

func (p *Provider) getList(w http.ResponseWriter, r *http.Request, name string, keep func(entry) bool) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > 1000 {
		limit = 1000
	}
	var since time.Time // of an empty one: all that there ever were
	if at := q.Get("since"); at != "" {
		if since, err = time.Parse(time.RFC3339Nano, at); err != nil {
			fail(w, &failure{400, "invalid_request", "since must be a time as in RFC 3339"})
			return
		}
	}
	list, next := p.list(q.Get("orderId"), q.Get("cursor"), limit, func(e entry) bool { return keep(e) && !e.CreatedAt.Before(since) })
	answer(w, 200, map[string]any{name: list, "next": next})
}

// read decodes the body and the idempotency key, or answers 400.
func read(w http.ResponseWriter, r *http.Request, body any) (key string, ok bool) {
	key = r.Header.Get("Idempotency-Key")
	if key == "" || len(key) > 128 {
		fail(w, &failure{400, "invalid_request", "header Idempotency-Key must have 1 to 128 characters"})
		return "", false
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(body); err != nil {
		fail(w, &failure{400, "invalid_request", "body: " + err.Error()})
		return "", false
	}
	return key, true
}

func fail(w http.ResponseWriter, f *failure) {
	if f.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	answer(w, f.status, f)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
