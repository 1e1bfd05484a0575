// Package payment calls the payment provider over HTTP. Every call carries an
// idempotency key derived from the order id, so that repeating it charges or
// refunds once, for as long as the provider remembers the key: a day or so.
// Whoever repeats a charge later looks into the provider's ledger first (Of);
// Refund does.
package payment

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Declined is the provider's final "no" to a charge.
type Declined struct{ Code, Message string }

func (e *Declined) Error() string { return "payment declined (" + e.Code + "): " + e.Message }

// ErrVoided says that the charge was refunded before it was made, and will not be made.
var ErrVoided = errors.New("charge was voided by a refund")

// Client is the provider's API.
type Client struct {
	opt              Options
	http             *http.Client
	base             *http.Transport
	charges, refunds *gobreaker.CircuitBreaker[struct{}]
}

// Options of a Client.
type Options struct {
	URL     string        // base URL
	Timeout time.Duration // of each call, connect to last byte; 0 means ten seconds
	Key     string        // the provider's API key, sent as a bearer token; "" sends none
	Header  http.Header   // more for each request, as a proxy on the way wants it
	Breaker Breaker       // none by default
}

// New makes a client.
func New(o Options) *Client {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's own
	t.MaxIdleConnsPerHost = 256
	return &Client{
		opt: o, http: &http.Client{Timeout: o.Timeout, Transport: tracing.Transport(t)}, base: t,
		charges: o.Breaker.breaker("charges"), refunds: o.Breaker.breaker("refunds"),
	}
}

// Close drops idle connections.
func (c *Client) Close() { c.base.CloseIdleConnections() }

// Charge is what to charge. Amount is in minor units.
type Charge struct {
	OrderID  string `json:"orderId"`
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
	Token    string `json:"token"`
}

func chargeKey(orderID string) string { return "charge-" + orderID }

// Charge returns the charge's id. *Declined and ErrVoided are final; any other
// error leaves the outcome unknown.
func (c *Client) Charge(ctx context.Context, charge Charge) (id string, err error) {
	var out struct{ ID string }
	err = guarded(c.charges, func() error {
		return c.call(ctx, http.MethodPost, "/v1/charges", chargeKey(charge.OrderID), charge, &out)
	})
	return out.ID, wrap(err, "charge order "+charge.OrderID)
}

// Refund gives back all that was charged for the order. If nothing was, it
// makes sure that nothing will be, and the id is empty. What the key does not
// bring to light, for it was forgotten, the ledger does.
func (c *Client) Refund(ctx context.Context, orderID string) (id string, err error) {
	id, err = c.refund(ctx, orderID, "chargeKey", chargeKey(orderID), "refund-"+orderID)
	if err != nil {
		return "", err
	}
	charges, err := c.Of(ctx, orderID)
	if err != nil {
		return "", err
	}
	for _, e := range charges {
		if !e.Refunded {
			if e.RefundID, err = c.RefundCharge(ctx, orderID, e.ID); err != nil {
				return "", err
			}
		}
		id = cmp.Or(id, e.RefundID)
	}
	return id, nil
}

// RefundCharge gives one charge of the order back.
func (c *Client) RefundCharge(ctx context.Context, orderID, chargeID string) (id string, err error) {
	return c.refund(ctx, orderID, "chargeId", chargeID, "refund-"+chargeID)
}

func (c *Client) refund(ctx context.Context, orderID, by, value, key string) (id string, err error) {
	var out struct{ ID, Status string }
	err = guarded(c.refunds, func() error {
		return c.call(ctx, http.MethodPost, "/v1/refunds", key, map[string]string{"orderId": orderID, by: value}, &out)
	})
	if out.Status == "voided" {
		out.ID = ""
	}
	return out.ID, wrap(err, "refund order "+orderID)
}

// Entry is one charge in the provider's ledger.
type Entry struct {
	ID       string `json:"id"`
	OrderID  string `json:"orderId"`
	Amount   int64  `json:"amount"`
	Refunded bool   `json:"refunded"`
	RefundID string `json:"refundId"`

	CreatedAt time.Time `json:"createdAt"` // by the provider's clock
}

// Of lists the charges of one order.
func (c *Client) Of(ctx context.Context, orderID string) (entries []Entry, err error) {
	for cursor := ""; ; {
		part, next, err := c.list(ctx, url.Values{"orderId": {orderID}}, cursor, 1000)
		if err != nil {
			return nil, wrap(err, "list charges of order "+orderID)
		}
		entries = append(entries, part...)
		if cursor = next; cursor == "" {
			return entries, nil
		}
	}
}

// Charges pages through all charges; an empty next ends.
func (c *Client) Charges(ctx context.Context, cursor string, limit int) (entries []Entry, next string, err error) {
	return c.ChargesSince(ctx, time.Time{}, cursor, limit)
}

// ChargesSince pages through the charges that were made at a time or later, in
// no order that means anything; an empty next ends.
func (c *Client) ChargesSince(ctx context.Context, since time.Time, cursor string, limit int) (entries []Entry, next string, err error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	entries, next, err = c.list(ctx, q, cursor, limit)
	return entries, next, wrap(err, "list charges")
}

func (c *Client) list(ctx context.Context, q url.Values, cursor string, limit int) (entries []Entry, next string, err error) {
	q.Set("limit", strconv.Itoa(limit))
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var out struct {
		Charges []Entry `json:"charges"`
		Next    string  `json:"next"`
	}
	err = c.call(ctx, http.MethodGet, "/v1/charges?"+q.Encode(), "", nil, &out)
	return out.Charges, out.Next, err
}

func (c *Client) call(ctx context.Context, method, path, key string, body, out any) error {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.opt.URL+path, payload)
	if err != nil {
		return err
	}
	maps.Copy(req.Header, c.opt.Header)
	req.Header.Set("Content-Type", "application/json")
	if c.opt.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.opt.Key)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read to its end below; nothing to learn from closing
	const most = 8 << 20
	b, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode < 300 {
		if err := json.Unmarshal(b, out); err != nil {
			return fmt.Errorf("decode answer: %w", err)
		}
		return nil
	}
	var problem struct{ Code, Message string }
	_ = json.Unmarshal(b, &problem) // an answer that is no JSON has no code
	switch {
	case res.StatusCode == http.StatusPaymentRequired:
		return &Declined{Code: problem.Code, Message: problem.Message}
	case problem.Code == "charge_voided":
		return ErrVoided
	}
	return &refusal{res.StatusCode, problem.Code, problem.Message}
}

func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
