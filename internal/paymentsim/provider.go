// Package paymentsim simulates a payment provider over HTTP, for development and tests. As in
// a provider's test mode, the payment token selects the outcome:
//
//	tok_ok                  charges
//	tok_declined            402 card_declined
//	tok_insufficient_funds  402 insufficient_funds
//	tok_flaky_N             503 for the first N attempts, then charges
//	tok_rate_limited_N      429 for the first N attempts, then charges
//	tok_timeout             no response in time, and no charge
//	tok_lost_response       charges; the first response is lost
//	tok_lost_always         charges; every response is lost
//	tok_down                503 until healed
//	tok_refund_down         charges; refunds get 503 until healed
//
// Any other token gets 402 invalid_token. POST /v1/heal ends the outages of tok_down and
// tok_refund_down permanently. POST /v1/forget expires all idempotency keys.
package paymentsim

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/tidwall/btree"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// Options configure Open.
type Options struct {
	Dir    string // directory of the ledger; "" keeps it in memory only
	Logger zerolog.Logger
	// CompactAfter and FS are as in journal.Options.
	CompactAfter int64
	FS           journal.FS
	// Key is the API key that charges and refunds must send as a bearer token; "" requires
	// none.
	Key string
	// HangFor is how long a request with tok_timeout is delayed; 0 means a minute.
	HangFor time.Duration
}

// Provider is a simulated payment provider with a ledger. It is safe for concurrent use.
type Provider struct {
	opt Options

	mu      sync.Mutex
	ledger  btree.Map[string, entry] // by id
	keys    map[string]string        // ids by idempotency key
	orders  map[string][]string      // ids by order
	tries   map[string]int           // attempts by idempotency key; a restart resets them
	healed  map[string]bool          // tokens whose outage has ended
	journal *journal.Journal
}

// entry is a charge in the ledger. Its JSON is the journal's format.
type entry struct {
	Key       string    `json:"key"`
	Forgotten bool      `json:"forgotten,omitempty"` // the key has expired
	ID        string    `json:"id"`
	OrderID   string    `json:"orderId"`
	Amount    int64     `json:"amount"` // minor units
	Currency  string    `json:"currency"`
	RefundBad bool      `json:"refundBad,omitempty"` // tok_refund_down
	Declined  string    `json:"declined,omitempty"`  // code
	Voided    bool      `json:"voided,omitempty"`    // refunded before it was made
	Refunded  bool      `json:"refunded"`
	RefundID  string    `json:"refundId,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
}

// charged reports whether the charge was made.
func (e entry) charged() bool { return e.Declined == "" && !e.Voided }

// Open returns a provider with the ledger in Options.Dir. The caller must call Close.
func Open(o Options) (*Provider, error) {
	if o.HangFor == 0 {
		o.HangFor = time.Minute
	}
	p := &Provider{opt: o, keys: map[string]string{}, orders: map[string][]string{}, tries: map[string]int{}, healed: map[string]bool{}}
	j, err := journal.Open(
		o.Dir,
		journal.Options{Sync: journal.SyncOff, Logger: o.Logger, CompactAfter: o.CompactAfter, FS: o.FS},
		func(rec []byte) error {
			var e entry
			if err := json.Unmarshal(rec, &e); err != nil {
				return fmt.Errorf("decode an entry of the payment ledger: %w", err)
			}
			p.apply(e)
			return nil
		},
	)
	if err != nil {
		return nil, fmt.Errorf("open the payment ledger: %w", err)
	}
	p.journal = j
	return p, nil
}

// Ready returns why nothing can be recorded in the ledger at the moment, or nil.
func (p *Provider) Ready() error { return p.journal.Err() }

// Watch is as that of journal.Journal.
func (p *Provider) Watch(ctx context.Context) error { return p.journal.Watch(ctx) }

// Close closes the ledger.
func (p *Provider) Close() error { return p.journal.Close() }

// failure is a response other than 200.
type failure struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

func newFailure(status int, code, message string) *failure {
	return &failure{status: status, Code: code, Message: message}
}

// notWritten is the failure of a request whose effect, or that of another, is not durable.
func notWritten(err error) *failure { return newFailure(500, "book_not_written", err.Error()) }

// chargeRequest is the body of POST /v1/charges.
type chargeRequest struct {
	OrderID  string `json:"orderId"`
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
	Token    string `json:"token"`
}

// refundRequest is the body of POST /v1/refunds.
type refundRequest struct {
	OrderID   string `json:"orderId"`
	ChargeKey string `json:"chargeKey"` // or
	ChargeID  string `json:"chargeId"`
}

// charge charges once for each idempotency key. lost means that the response must be lost.
func (p *Provider) charge(key string, r chargeRequest) (e entry, lost bool, f *failure) {
	p.mu.Lock()
	p.tries[key]++
	try := p.tries[key]
	e, known := p.byKey(key)
	if known {
		p.mu.Unlock()
		switch {
		case e.Voided:
			return e, false, newFailure(409, "charge_voided", "the charge was refunded before it was made")
		case e.OrderID != r.OrderID || e.Amount != r.Amount || e.Currency != r.Currency:
			return e, false, newFailure(409, "idempotency_mismatch", "the key was used for another charge")
		case e.Declined != "":
			return e, false, declined(e.Declined)
		}
		return e, r.Token == "tok_lost_always", nil
	}
	if f := p.refusal(r.Token, try); f != nil {
		p.mu.Unlock()
		return e, false, f
	}
	e = entry{
		Key: key, ID: p.newID("ch_" + key), OrderID: r.OrderID, Amount: r.Amount, Currency: r.Currency,
		RefundBad: r.Token == "tok_refund_down", CreatedAt: time.Now().UTC(),
	}
	switch r.Token {
	case "tok_declined":
		e.Declined = "card_declined"
	case "tok_insufficient_funds":
		e.Declined = "insufficient_funds"
	}
	err := p.put(e)
	p.mu.Unlock()
	if err != nil {
		return e, false, notWritten(err)
	}
	if e.Declined != "" {
		return e, false, declined(e.Declined)
	}
	return e, r.Token == "tok_lost_response" || r.Token == "tok_lost_always", nil
}

// declined returns the response to a declined charge.
func declined(code string) *failure { return newFailure(402, code, "the card was declined") }

// refusal returns the failure of an attempt that charges nothing, or nil. The caller holds mu.
func (p *Provider) refusal(token string, try int) *failure {
	switch token {
	case "tok_ok", "tok_declined", "tok_insufficient_funds", "tok_lost_response", "tok_lost_always", "tok_refund_down":
		return nil
	case "tok_down":
		if p.healed[token] {
			return nil
		}
		return newFailure(503, "down", "the provider is down")
	}
	if n, ok := count(token, "tok_flaky_"); ok {
		if try > n {
			return nil
		}
		return newFailure(503, "unavailable", "temporarily unavailable")
	}
	if n, ok := count(token, "tok_rate_limited_"); ok {
		if try > n {
			return nil
		}
		return newFailure(429, "rate_limited", "too many requests")
	}
	return newFailure(402, "invalid_token", "the token is unknown")
}

// count parses a token with a number.
func count(token, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(token, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(rest)
	return n, err == nil && n >= 0
}

// refund refunds a charge, by its id or its key. If no charge has the key, it voids the key: a
// charge that is still on its way must fail.
func (p *Provider) refund(r refundRequest) (entry, *failure) {
	p.mu.Lock()
	e, known := p.byKey(r.ChargeKey)
	if r.ChargeID != "" {
		e, known = p.ledger.Get(r.ChargeID)
		if !known || !e.charged() {
			p.mu.Unlock()
			return e, newFailure(404, "no_such_charge", "no charge has this id")
		}
	}
	if known && e.OrderID != r.OrderID {
		p.mu.Unlock()
		return e, newFailure(409, "order_mismatch", "the charge belongs to another order")
	}
	if e.RefundBad && !e.Refunded && !p.healed["tok_refund_down"] {
		p.mu.Unlock()
		return e, newFailure(503, "refunds_down", "refunds are down")
	}
	if !known {
		e = entry{Key: r.ChargeKey, ID: p.newID("void_" + r.ChargeKey), OrderID: r.OrderID, Voided: true, CreatedAt: time.Now().UTC()}
	} else if e.charged() {
		e.Refunded, e.RefundID = true, "re_"+strings.TrimPrefix(e.ID, "ch_")
	}
	err := p.put(e)
	p.mu.Unlock()
	if err != nil {
		return e, notWritten(err)
	}
	return e, nil
}

// put adds or replaces an entry. The caller holds mu. The response waits until the entry is
// durable.
func (p *Provider) put(e entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode a ledger entry: %w", err)
	}
	p.apply(e)
	p.journal.Append(b)
	p.journal.CompactIfNeeded(p.snapshot)
	return nil
}

// snapshot emits all entries, for the journal's compaction.
func (p *Provider) snapshot(emit func([]byte) error) (err error) {
	p.mu.Lock()
	ledger := p.ledger.Copy() // cheap: it copies on write
	p.mu.Unlock()
	ledger.Scan(func(_ string, e entry) bool {
		var b []byte
		b, err = json.Marshal(e)
		if err == nil {
			err = emit(b)
		}
		return err == nil
	})
	return err
}

// apply adds or replaces an entry in memory. The caller holds mu.
func (p *Provider) apply(e entry) {
	if e.ID == "" { // voided, and written before such entries had an id
		e.ID = "void_" + e.Key
	}
	if _, known := p.ledger.Set(e.ID, e); !known {
		p.orders[e.OrderID] = append(p.orders[e.OrderID], e.ID)
	}
	if e.Forgotten {
		delete(p.keys, e.Key)
	} else {
		p.keys[e.Key] = e.ID
	}
}

// byKey returns the entry of an idempotency key that has not expired.
func (p *Provider) byKey(key string) (entry, bool) {
	id, known := p.keys[key]
	if !known {
		return entry{}, false
	}
	return p.ledger.Get(id)
}

// newID returns id, or a variant of it if that is taken by a charge whose key has expired.
func (p *Provider) newID(id string) string {
	for n := 2; ; n++ {
		if _, taken := p.ledger.Get(id); !taken {
			return id
		}
		id = strings.TrimSuffix(id, "."+strconv.Itoa(n-1)) + "." + strconv.Itoa(n)
	}
}

// ExpireKeys expires all idempotency keys, as providers do after about a day.
func (p *Provider) ExpireKeys() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range slices.Sorted(maps.Values(p.keys)) {
		e, _ := p.ledger.Get(id)
		e.Forgotten = true
		if err := p.put(e); err != nil {
			return err
		}
	}
	return nil
}

// Heal ends the outage that a token simulates; "" ends all.
func (p *Provider) Heal(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range []string{"tok_down", "tok_refund_down"} {
		if token == "" || token == t {
			p.healed[t] = true
		}
	}
}

// list returns one page of the entries that keep accepts, of one order or of all (""), and
// the cursor of the next page.
func (p *Provider) list(orderID, cursor string, limit int, keep func(entry) bool) (out []entry, next string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out = []entry{}
	take := func(id string, e entry) (more bool) {
		if id == cursor || !keep(e) {
			return true
		}
		if len(out) == limit {
			next = out[limit-1].ID
			return false
		}
		out = append(out, e)
		return true
	}
	if orderID == "" {
		p.ledger.Ascend(cursor, take)
		return out, next
	}
	for _, id := range slices.Sorted(slices.Values(p.orders[orderID])) {
		if e, _ := p.ledger.Get(id); id >= cursor && !take(id, e) {
			break
		}
	}
	return out, next
}
