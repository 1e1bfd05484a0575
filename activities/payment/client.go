// Package payment is the client of the payment provider's HTTP API. Every charge and refund
// has an idempotency key derived from the order id. A repeated request therefore has no
// further effect, as long as the provider remembers the key: for about a day. A caller that
// repeats a charge later must read the provider's ledger first (ChargesOf); Refund does.
//
// A response is accepted only if it proves that it is the provider's (response.go): a proxy
// in between may respond with something else, and a status 200 alone ships no goods.
package payment

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/ordersaga/ordersaga/internal/httpcall"
	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/paging"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// DeclinedError is the error of a charge that the provider has declined. It is final.
type DeclinedError struct{ Code, Message string }

// Error returns the provider's code and message.
func (e *DeclinedError) Error() string { return "payment declined (" + e.Code + "): " + e.Message }

// ErrVoided is the error of a charge that was refunded before it was made. It is final.
var ErrVoided = errors.New("charge was voided by a refund")

// Client is a client of the provider's API. It is safe for concurrent use.
type Client struct {
	opt              Options
	http             *http.Client
	base             *http.Transport
	charges, refunds *gobreaker.CircuitBreaker[struct{}]
}

// Options configure New. URL is required.
type Options struct {
	URL     string        // base URL; may have a path, and end with a slash
	Timeout time.Duration // of each request, from connecting to the last byte; 0 means 10 s
	Key     string        // the provider's API key, sent as a bearer token; "" sends none
	Header  http.Header   // additional headers of each request, for a proxy
	Breaker Breaker       // circuit breaker; the zero value is none
	// Installation separates the orders of installations that share an account.
	Installation Installation
}

// New returns a client. The caller must call Close.
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

// Close closes idle connections.
func (c *Client) Close() { c.base.CloseIdleConnections() }

// Charge is a request to charge an order.
type Charge struct {
	OrderID  string `json:"orderId"`
	Amount   int64  `json:"amount"` // minor units
	Currency string `json:"currency"`
	Token    string `json:"token"` // of the means of payment
}

// StepTimeouts is the maximum duration of one saga step's requests, in multiples of
// Options.Timeout. A charge reads the ledger, charges, and reads the ledger again. ChargesOf
// takes at most one Timeout. Refund stops after StepTimeouts; when it is called again it finds
// in the ledger what it has refunded by then.
const StepTimeouts = 3

// chargeKey returns the idempotency key of a charge. orderID is the provider's id of the
// order, as in all requests.
func chargeKey(orderID string) string { return "charge-" + orderID }

// Charge charges an order and returns the charge's id. The errors *DeclinedError and ErrVoided are
// final. After any other error the outcome is unknown; repeating the charge is safe.
func (c *Client) Charge(ctx context.Context, charge Charge) (id string, err error) {
	err = guarded(c.charges, func() error {
		var a chargeResponse
		asked := charge
		asked.OrderID = c.opt.Installation.theirs(charge.OrderID)
		err := c.call(ctx, http.MethodPost, "/v1/charges", nil, chargeKey(asked.OrderID), asked, &a)
		if refused, ok := errors.AsType[*refusal](err); ok {
			refused.Message = redact(refused.Message, charge.Token)
			if refused.Code != chargeVoided { // this code has a meaning, whatever the token
				refused.Code = redact(refused.Code, charge.Token)
			}
		}
		a.Code, a.Message = redact(a.Code, charge.Token), redact(a.Message, charge.Token)
		if err == nil {
			id, err = a.charged(asked)
		}
		return final(err)
	})
	return id, wrap(redactError(err, charge.Token), "charge order "+charge.OrderID)
}

// Refund refunds everything that was charged for an order. made is the charge in the order's
// record, or has only the order's id if the record has none.
//
// If made has a charge, that must be in the provider's ledger, and Refund returns the id of
// its refund; "nothing was charged" is an error then. If it has none and nothing was charged,
// Refund ensures that no charge will succeed later, and returns an empty id. It refunds by
// the idempotency key of the charge, and every charge in the ledger: the provider may have
// forgotten the key. A refund by the key must be in the ledger.
func (c *Client) Refund(ctx context.Context, made Entry) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, StepTimeouts*c.opt.Timeout)
	defer cancel()
	theirs := c.opt.Installation.theirs(made.OrderID)
	first, err := c.refund(ctx, "refund-"+theirs, refund{OrderID: theirs, ChargeKey: chargeKey(theirs)})
	if err != nil {
		return "", err
	}
	charges, err := c.ChargesOf(ctx, made.OrderID)
	if err != nil {
		return "", err
	}
	what := "refund order " + made.OrderID
	if first.ID != "" && !slices.ContainsFunc(charges, first.of) {
		return "", wrap(invalidf("refund %s is of %s of charge %s, which is not in the ledger",
			cut(first.ID), amount(first.Amount, first.Currency), cut(first.ChargeID)), what)
	}
	id = first.ID
	proven := made.ID == ""
	for _, e := range charges {
		if !e.Refunded {
			e.RefundID, err = c.RefundCharge(ctx, e)
			if err != nil {
				return "", err
			}
		}
		if e.same(made) {
			id, proven = e.RefundID, true
		}
		id = cmp.Or(id, e.RefundID)
	}
	if !proven {
		return "", wrap(
			invalidf("charge %s over %s was made, and it is not in the ledger", cut(made.ID), money.Format(made.Amount, cut(made.Currency))),
			what,
		)
	}
	return id, nil
}

// RefundCharge refunds one charge and returns the refund's id. The charge was made, so a
// response that there is nothing to refund, or less, is an error.
func (c *Client) RefundCharge(ctx context.Context, e Entry) (id string, err error) {
	a, err := c.refund(ctx, "refund-"+e.ID, refund{OrderID: c.opt.Installation.theirs(e.OrderID), ChargeID: e.ID, charge: e})
	return a.ID, err
}

// refund is a request to refund a charge, by its id or by its idempotency key.
type refund struct {
	OrderID   string `json:"orderId"`
	ChargeKey string `json:"chargeKey,omitempty"`
	ChargeID  string `json:"chargeId,omitempty"`

	charge Entry // the charge with ChargeID
}

func (c *Client) refund(ctx context.Context, key string, r refund) (a refundResponse, err error) {
	err = guarded(c.refunds, func() error {
		err := c.call(ctx, http.MethodPost, "/v1/refunds", nil, key, r, &a)
		if err == nil {
			err = a.check(r)
		}
		return err
	})
	if err != nil {
		return refundResponse{}, wrap(err, "refund order "+r.OrderID)
	}
	return a, nil
}

// Entry is one charge in the provider's ledger.
type Entry struct {
	ID       string `json:"id"`
	OrderID  string `json:"orderId"`
	Amount   int64  `json:"amount"` // minor units
	Currency string `json:"currency"`
	Refunded bool   `json:"refunded"`
	RefundID string `json:"refundId"`

	CreatedAt time.Time `json:"createdAt"` // by the provider's clock

	// Invalid is why the entry is not accepted; nil if it is. An entry that is not accepted
	// has at most ID and OrderID.
	Invalid error `json:"-"`
}

// same reports whether two entries are the same charge over the same amount.
func (e Entry) same(as Entry) bool {
	return e.ID == as.ID && e.Amount == as.Amount && e.Currency == as.Currency
}

// Ledger has the charges of orders, as *Client does.
type Ledger interface {
	ChargesOf(ctx context.Context, orderID string) ([]Entry, error)
}

// FindCharge returns the id of an order's charge in the provider's ledger. It stands and is
// over the order's total, and is the known one or the only one: otherwise the id is "", as
// it is if the provider's response was invalid. Other errors are returned.
func FindCharge(ctx context.Context, l Ledger, o order.Order, known string) (id string, err error) {
	entries, err := l.ChargesOf(ctx, o.OrderID)
	if err != nil && !IsInvalidResponse(err) {
		return "", err
	}
	standing := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Refunded })
	for _, e := range standing {
		pays := e.same(Entry{ID: e.ID, Amount: o.Total(), Currency: o.Currency})
		if pays && (e.ID == known || known == "" && len(standing) == 1) {
			return e.ID, nil
		}
	}
	return "", nil
}

// maxPages is the maximum number of pages of one order's charges, at a thousand charges a
// page. A ledger with more is considered endless.
const maxPages = 10

// ChargesOf returns all charges of one order. All pages together take at most
// Options.Timeout.
func (c *Client) ChargesOf(ctx context.Context, orderID string) (entries []Entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	pages, theirs := 0, c.opt.Installation.theirs(orderID)
	for part, err := range c.pages(ctx, theirs, url.Values{"orderId": {theirs}}, 1000) {
		pages++
		if err == nil && pages > maxPages {
			err = invalidf("it does not end after %d pages", maxPages)
		}
		for _, e := range part {
			switch {
			case err != nil:
			case e.Invalid != nil:
				err = e.Invalid
			case slices.ContainsFunc(entries, func(b Entry) bool { return b.ID == e.ID }):
				err = invalidf("charge %s is listed twice", cut(e.ID))
			}
			entries = append(entries, e)
		}
		if err != nil {
			return nil, wrap(err, "list charges of order "+orderID)
		}
	}
	return c.opt.Installation.own(entries), nil // all of them are the installation's
}

// Charges returns one page of the installation's charges, and the cursor of the next page; ""
// after the last. An invalid entry is an error.
func (c *Client) Charges(ctx context.Context, cursor string, limit int) (entries []Entry, next string, err error) {
	entries, next, err = c.list(ctx, "", url.Values{}, cursor, limit)
	entries = c.opt.Installation.own(entries)
	for _, e := range entries {
		err = cmp.Or(err, e.Invalid)
	}
	if err != nil {
		return nil, "", wrap(err, "list charges")
	}
	return entries, next, nil
}

// ChargesSince returns the pages of the installation's charges that were made at a time or
// later; the zero time means all. Their order is undefined. Invalid entries are included. A
// ledger that repeats itself ends with an error.
func (c *Client) ChargesSince(ctx context.Context, since time.Time) iter.Seq2[[]Entry, error] {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	return func(yield func([]Entry, error) bool) {
		for page, err := range c.pages(ctx, "", q, pageSize) {
			if !yield(c.opt.Installation.own(page), wrap(err, "list charges")) {
				return
			}
		}
	}
}

const pageSize = 200

// pages returns the pages of the ledger of one order; "" means all orders.
func (c *Client) pages(ctx context.Context, orderID string, q url.Values, limit int) iter.Seq2[[]Entry, error] {
	read := func(cursor string) ([]Entry, string, error) { return c.list(ctx, orderID, q, cursor, limit) }
	return func(yield func([]Entry, error) bool) {
		for page, err := range paging.Pages("the ledger", read, func(e Entry) string { return e.ID }) {
			if errors.Is(err, paging.ErrRepeats) {
				err = invalidf("%w", err)
			}
			if !yield(page, err) {
				return
			}
		}
	}
}

// list reads one page of the ledger.
func (c *Client) list(
	ctx context.Context,
	orderID string,
	q url.Values,
	cursor string,
	limit int,
) (entries []Entry, next string, err error) {
	q = maps.Clone(q)
	q.Set("limit", strconv.Itoa(limit))
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var a listResponse
	if err := c.call(ctx, http.MethodGet, "/v1/charges", q, "", nil, &a); err != nil {
		return nil, "", err
	}
	entries, err = a.entries(orderID)
	if err != nil {
		return nil, "", err
	}
	return entries, a.Next, nil
}

// maxResponse is the maximum size of a response in bytes; a larger one is an error.
const maxResponse = 8 << 20

// call sends a request and decodes the response into out. It returns a *refusal for another
// status than success.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, key string, body, out any) error {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		payload = bytes.NewReader(b)
	}
	at, err := url.Parse(c.opt.URL)
	if err != nil {
		return err
	}
	at = at.JoinPath(path)
	at.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, method, at.String(), payload)
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
	res, err := httpcall.Do(c.http, req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read to its end below; an error of Close has no consequence
	b, err := io.ReadAll(io.LimitReader(res.Body, maxResponse+1))
	if err != nil {
		return fmt.Errorf("read response: %w", err)
	}
	if len(b) > maxResponse {
		return fmt.Errorf("%w: it is longer than %d bytes", errInvalid, maxResponse)
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusCreated && method == http.MethodPost {
		return decode(b, out)
	}
	r := &refusal{status: res.StatusCode, after: retryAfter(res, time.Now())}
	if decode(b, r) != nil { // not the provider's response, so it has no code
		r.Code, r.Message = "", ""
	}
	return r
}

func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
