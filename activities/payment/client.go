// Package payment calls the payment provider over HTTP. Every call carries an
// idempotency key derived from the order id, so that repeating it charges or
// refunds once, for as long as the provider remembers the key: a day or so.
// Whoever repeats a charge later looks into the provider's ledger first (Of);
// Refund does.
//
// What the provider answers counts only if it proves itself (answer.go): whatever
// stands between may answer something else, and a 200 alone moves no goods.
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
	"github.com/ordersaga/ordersaga/internal/paging"
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
	URL     string        // base URL; may have a path, and end with a slash
	Timeout time.Duration // of each call, connect to last byte; 0 means ten seconds
	Key     string        // the provider's API key, sent as a bearer token; "" sends none
	Header  http.Header   // more for each request, as a proxy on the way wants it
	Breaker Breaker       // none by default
	// Installation is whose orders they are, at an account that others charge to.
	Installation Installation
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

// StepTimeouts is how many times Options.Timeout the calls of one step take at
// most: those of a charge are the ledger, the charge, and the ledger again. Of
// takes no longer than one, and Refund is cut off after all of them: what it has
// given back by then, it finds in the ledger when it is called again.
const StepTimeouts = 3

// chargeKey is by the id that the provider has, as all that is sent to it.
func chargeKey(orderID string) string { return "charge-" + orderID }

// Charge returns the charge's id. *Declined and ErrVoided are final; any other
// error leaves the outcome unknown.
func (c *Client) Charge(ctx context.Context, charge Charge) (id string, err error) {
	err = guarded(c.charges, func() error {
		var a chargeAnswer
		asked := charge
		asked.OrderID = c.opt.Installation.theirs(charge.OrderID)
		err := c.call(ctx, http.MethodPost, "/v1/charges", nil, chargeKey(asked.OrderID), asked, &a)
		if refused, ok := errors.AsType[*refusal](err); ok {
			refused.Message = hide(refused.Message, charge.Token)
			if refused.Code != chargeVoided { // which says what it is, whatever the token
				refused.Code = hide(refused.Code, charge.Token)
			}
		}
		a.Code, a.Message = hide(a.Code, charge.Token), hide(a.Message, charge.Token)
		if err == nil {
			id, err = a.charged(asked)
		}
		return final(err)
	})
	return id, wrap(discreet(err, charge.Token), "charge order "+charge.OrderID)
}

// Refund gives back all that was charged for an order, and made is the charge
// that the order's record has, or just the order's id if it has none. A charge
// that was made must be in the ledger, and the id is its refund's: "nothing was
// charged" is an error then. Else, if nothing was charged, Refund makes sure that
// nothing will be, and the id is empty. What the key does not bring to light, for
// it was forgotten, the ledger does; and what was given back by the key must be
// in the ledger.
func (c *Client) Refund(ctx context.Context, made Entry) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, StepTimeouts*c.opt.Timeout)
	defer cancel()
	theirs := c.opt.Installation.theirs(made.OrderID)
	first, err := c.refund(ctx, "refund-"+theirs, refund{OrderID: theirs, ChargeKey: chargeKey(theirs)})
	if err != nil {
		return "", err
	}
	charges, err := c.Of(ctx, made.OrderID)
	if err != nil {
		return "", err
	}
	what := "refund order " + made.OrderID
	if first.ID != "" && !slices.ContainsFunc(charges, first.of) {
		return "", wrap(odd("refund %s gives back %s of charge %s, and no such charge is in the ledger",
			cut(first.ID), amount(first.Amount, first.Currency), cut(first.ChargeID)), what)
	}
	id = first.ID
	proven := made.ID == ""
	for _, e := range charges {
		if !e.Refunded {
			if e.RefundID, err = c.RefundCharge(ctx, e); err != nil {
				return "", err
			}
		}
		if e.same(made) {
			id, proven = e.RefundID, true
		}
		id = cmp.Or(id, e.RefundID)
	}
	if !proven {
		return "", wrap(odd("charge %s over %s was made, and it is not in the ledger", cut(made.ID), money.Format(made.Amount, cut(made.Currency))), what)
	}
	return id, nil
}

// RefundCharge gives one charge back. It was made, so an answer that there is
// nothing to give back, or that less was given back, is an error.
func (c *Client) RefundCharge(ctx context.Context, e Entry) (id string, err error) {
	a, err := c.refund(ctx, "refund-"+e.ID, refund{OrderID: c.opt.Installation.theirs(e.OrderID), ChargeID: e.ID, charge: e})
	return a.ID, err
}

// refund is what to give back: a charge by its id, or by its key.
type refund struct {
	OrderID   string `json:"orderId"`
	ChargeKey string `json:"chargeKey,omitempty"`
	ChargeID  string `json:"chargeId,omitempty"`

	charge Entry // with ChargeID
}

func (c *Client) refund(ctx context.Context, key string, r refund) (a refundAnswer, err error) {
	err = guarded(c.refunds, func() error {
		err := c.call(ctx, http.MethodPost, "/v1/refunds", nil, key, r, &a)
		if err == nil {
			err = a.check(r)
		}
		return err
	})
	if err != nil {
		return refundAnswer{}, wrap(err, "refund order "+r.OrderID)
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

	// Odd is why the entry does not count; nil if it does. One that does not has
	// no more than ID and OrderID, and may lack these.
	Odd error `json:"-"`
}

// same reports whether it is the same charge, over the same amount.
func (e Entry) same(as Entry) bool {
	return e.ID == as.ID && e.Amount == as.Amount && e.Currency == as.Currency
}

// mostPages bounds the ledger of one order, at a thousand charges a page: one
// that has more does not end.
const mostPages = 10

// Of lists the charges of one order. All pages together take no longer than
// Options.Timeout.
func (c *Client) Of(ctx context.Context, orderID string) (entries []Entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	pages, theirs := 0, c.opt.Installation.theirs(orderID)
	for part, err := range c.pages(ctx, theirs, url.Values{"orderId": {theirs}}, 1000) {
		if pages++; err == nil && pages > mostPages {
			err = odd("it does not end after %d pages", mostPages)
		}
		for _, e := range part {
			switch {
			case err != nil:
			case e.Odd != nil:
				err = e.Odd
			case slices.ContainsFunc(entries, func(b Entry) bool { return b.ID == e.ID }):
				err = odd("charge %s is there twice", cut(e.ID))
			}
			entries = append(entries, e)
		}
		if err != nil {
			return nil, wrap(err, "list charges of order "+orderID)
		}
	}
	return c.opt.Installation.own(entries), nil // and so all of them
}

// Charges reads a page of all charges of the installation; an empty next ends. An
// entry that does not count is an error.
func (c *Client) Charges(ctx context.Context, cursor string, limit int) (entries []Entry, next string, err error) {
	entries, next, err = c.list(ctx, "", url.Values{}, cursor, limit)
	entries = c.opt.Installation.own(entries)
	for _, e := range entries {
		err = cmp.Or(err, e.Odd)
	}
	if err != nil {
		return nil, "", wrap(err, "list charges")
	}
	return entries, next, nil
}

// ChargesSince pages through the installation's charges that were made at a time
// or later, in no order that means anything, with those that do not count among them. A
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

// pages reads a ledger: of one order, or ("") of all.
func (c *Client) pages(ctx context.Context, orderID string, q url.Values, limit int) iter.Seq2[[]Entry, error] {
	read := func(cursor string) ([]Entry, string, error) { return c.list(ctx, orderID, q, cursor, limit) }
	return func(yield func([]Entry, error) bool) {
		for page, err := range paging.Pages("the ledger", read, func(e Entry) string { return e.ID }) {
			if errors.Is(err, paging.ErrRepeats) {
				err = odd("%w", err)
			}
			if !yield(page, err) {
				return
			}
		}
	}
}

func (c *Client) list(ctx context.Context, orderID string, q url.Values, cursor string, limit int) (entries []Entry, next string, err error) {
	q = maps.Clone(q)
	q.Set("limit", strconv.Itoa(limit))
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var a listAnswer
	if err := c.call(ctx, http.MethodGet, "/v1/charges", q, "", nil, &a); err != nil {
		return nil, "", err
	}
	if entries, err = a.entries(orderID); err != nil {
		return nil, "", err
	}
	return entries, a.Next, nil
}

// most is how many bytes of an answer are read; a longer one is an error.
const most = 8 << 20

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
	defer func() { _ = res.Body.Close() }() // read to its end below; nothing to learn from closing
	b, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if len(b) > most {
		return fmt.Errorf("%w: it is longer than %d bytes", errOdd, most)
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusCreated && method == http.MethodPost {
		return decode(b, out)
	}
	r := &refusal{status: res.StatusCode, after: retryAfter(res, time.Now())}
	if decode(b, r) != nil { // it is not the provider's word, so it has no code
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
