// Package paymentsim is a payment provider to develop and test against, over
// HTTP, in the manner of a provider's test mode: the token decides what
// happens.
//
//	tok_ok                  charges
//	tok_declined            402 card_declined
//	tok_insufficient_funds  402 insufficient_funds
//	tok_flaky_N             503 for the first N tries, then charges
//	tok_rate_limited_N      429 for the first N tries, then charges
//	tok_timeout             no answer in time, and no charge
//	tok_lost_response       charges; the first answer is lost
//	tok_lost_always         charges; every answer is lost
//	tok_down                503 until healed
//	tok_refund_down         charges; refunds answer 503 until healed
//
// Any other token is 402 invalid_token. POST /v1/heal ends tok_down and
// tok_refund_down for good; POST /v1/forget makes it forget idempotency keys.
package paymentsim

import (
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

// Options of a Provider.
type Options struct {
	Dir    string // of the book; "" keeps it in memory only
	Logger zerolog.Logger
	// CompactAfter: see journal.Options.
	CompactAfter int64
	Key          string // API key that charges and refunds must bring as a bearer token; "" wants none
	// HangFor is how long tok_timeout holds a request; 0 means a minute.
	HangFor time.Duration
}

// Provider is the simulator.
type Provider struct {
	opt Options

	mu      sync.Mutex
	book    btree.Map[string, entry] // by id
	keys    map[string]string        // ids by idempotency key
	orders  map[string][]string      // ids by order
	tries   map[string]int           // by idempotency key; not kept over restarts
	healed  map[string]bool
	journal *journal.Journal
}

// entry is all that is known of a charge.
type entry struct {
	Key       string    `json:"key"`
	Forgotten bool      `json:"forgotten,omitempty"` // the key
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

func (e entry) charged() bool { return e.Declined == "" && !e.Voided }

// Open reads the book.
func Open(o Options) (*Provider, error) {
	if o.HangFor == 0 {
		o.HangFor = time.Minute
	}
	p := &Provider{opt: o, keys: map[string]string{}, orders: map[string][]string{}, tries: map[string]int{}, healed: map[string]bool{}}
	j, err := journal.Open(o.Dir, journal.Options{Sync: journal.SyncOff, Logger: o.Logger, CompactAfter: o.CompactAfter}, func(rec []byte) error {
		var e entry
		if err := json.Unmarshal(rec, &e); err != nil {
			return fmt.Errorf("decode payment book: %w", err)
		}
		p.know(e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open payment book: %w", err)
	}
	p.journal = j
	return p, nil
}

// Close closes the book.
func (p *Provider) Close() error { return p.journal.Close() }

// failure is an answer other than 200.
type failure struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

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

// charge decides and books. lost says that the answer must not arrive.
func (p *Provider) charge(key string, r chargeRequest) (e entry, lost bool, f *failure) {
	p.mu.Lock()
	p.tries[key]++
	try := p.tries[key]
	e, known := p.byKey(key)
	if known {
		p.mu.Unlock()
		switch {
		case e.Voided:
			return e, false, &failure{409, "charge_voided", "a refund came first"}
		case e.OrderID != r.OrderID || e.Amount != r.Amount || e.Currency != r.Currency:
			return e, false, &failure{409, "idempotency_mismatch", "the key was used for another charge"}
		case e.Declined != "":
			return e, false, declined(e.Declined)
		}
		return e, r.Token == "tok_lost_always", nil
	}
	if f := p.refusal(r.Token, try); f != nil {
		p.mu.Unlock()
		return e, false, f
	}
	e = entry{Key: key, ID: p.newID("ch_" + key), OrderID: r.OrderID, Amount: r.Amount, Currency: r.Currency,
		RefundBad: r.Token == "tok_refund_down", CreatedAt: time.Now().UTC()}
	switch r.Token {
	case "tok_declined":
		e.Declined = "card_declined"
	case "tok_insufficient_funds":
		e.Declined = "insufficient_funds"
	}
	commit, err := p.put(e)
	p.mu.Unlock()
	if err == nil {
		err = commit.Wait()
	}
	if err != nil {
		return e, false, &failure{500, "book_not_written", err.Error()}
	}
	if e.Declined != "" {
		return e, false, declined(e.Declined)
	}
	return e, r.Token == "tok_lost_response" || r.Token == "tok_lost_always", nil
}

func declined(code string) *failure { return &failure{402, code, "the card was refused"} }

// refusal is how a token fails before anything is booked; mu is held.
func (p *Provider) refusal(token string, try int) *failure {
	switch token {
	case "tok_ok", "tok_declined", "tok_insufficient_funds", "tok_lost_response", "tok_lost_always", "tok_refund_down":
		return nil
	case "tok_down":
		if p.healed[token] {
			return nil
		}
		return &failure{503, "down", "the provider is down"}
	}
	if n, ok := count(token, "tok_flaky_"); ok {
		if try > n {
			return nil
		}
		return &failure{503, "unavailable", "try again"}
	}
	if n, ok := count(token, "tok_rate_limited_"); ok {
		if try > n {
			return nil
		}
		return &failure{429, "rate_limited", "slow down"}
	}
	return &failure{402, "invalid_token", "the token is unknown"}
}

func count(token, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(token, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(rest)
	return n, err == nil && n >= 0
}

// refund pays back a charge, by its id or its key, or voids the key before the
// charge is made: else one that is still on its way would stand.
func (p *Provider) refund(r refundRequest) (entry, *failure) {
	p.mu.Lock()
	e, known := p.byKey(r.ChargeKey)
	if r.ChargeID != "" {
		if e, known = p.book.Get(r.ChargeID); !known || !e.charged() {
			p.mu.Unlock()
			return e, &failure{404, "no_such_charge", "no charge has this id"}
		}
	}
	if known && e.OrderID != r.OrderID {
		p.mu.Unlock()
		return e, &failure{409, "order_mismatch", "the charge belongs to another order"}
	}
	if e.RefundBad && !e.Refunded && !p.healed["tok_refund_down"] {
		p.mu.Unlock()
		return e, &failure{503, "refunds_down", "refunds are down"}
	}
	if !known {
		e = entry{Key: r.ChargeKey, ID: p.newID("void_" + r.ChargeKey), OrderID: r.OrderID, Voided: true, CreatedAt: time.Now().UTC()}
	} else if e.charged() {
		e.Refunded, e.RefundID = true, "re_"+strings.TrimPrefix(e.ID, "ch_")
	}
	commit, err := p.put(e)
	p.mu.Unlock()
	if err == nil {
		err = commit.Wait()
	}
	if err != nil {
		return e, &failure{500, "book_not_written", err.Error()}
	}
	return e, nil
}

func (p *Provider) put(e entry) (journal.Commit, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return journal.Commit{}, fmt.Errorf("encode book entry: %w", err)
	}
	p.know(e)
	c := p.journal.Append(b)
	p.journal.CompactIfNeeded(p.snapshot)
	return c, nil
}

func (p *Provider) snapshot(emit func([]byte) error) (err error) {
	p.mu.Lock()
	book := p.book.Copy() // on write: cheap
	p.mu.Unlock()
	book.Scan(func(_ string, e entry) bool {
		var b []byte
		if b, err = json.Marshal(e); err == nil {
			err = emit(b)
		}
		return err == nil
	})
	return err
}

// know takes an entry into the book.
func (p *Provider) know(e entry) {
	if e.ID == "" { // voided, and written before such entries had one
		e.ID = "void_" + e.Key
	}
	if _, known := p.book.Set(e.ID, e); !known {
		p.orders[e.OrderID] = append(p.orders[e.OrderID], e.ID)
	}
	if e.Forgotten {
		delete(p.keys, e.Key)
	} else {
		p.keys[e.Key] = e.ID
	}
}

func (p *Provider) byKey(key string) (entry, bool) {
	id, known := p.keys[key]
	if !known {
		return entry{}, false
	}
	return p.book.Get(id)
}

// newID is id, or one made from it if it is taken: keys are forgotten.
func (p *Provider) newID(id string) string {
	for n := 2; ; n++ {
		if _, taken := p.book.Get(id); !taken {
			return id
		}
		id = strings.TrimSuffix(id, "."+strconv.Itoa(n-1)) + "." + strconv.Itoa(n)
	}
}

// Forget makes the provider forget all idempotency keys, as real ones do with
// those that are older than a day or so.
func (p *Provider) Forget() error {
	p.mu.Lock()
	var last journal.Commit
	for _, id := range slices.Sorted(maps.Values(p.keys)) {
		e, _ := p.book.Get(id)
		e.Forgotten = true
		commit, err := p.put(e)
		if err != nil {
			p.mu.Unlock()
			return err
		}
		last = commit
	}
	p.mu.Unlock()
	return last.Wait()
}

// Heal ends the outage that a token stands for; "" ends all.
func (p *Provider) Heal(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range []string{"tok_down", "tok_refund_down"} {
		if token == "" || token == t {
			p.healed[t] = true
		}
	}
}

// list pages through the entries that keep admits, of one order or ("") of all.
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
		p.book.Ascend(cursor, take)
		return out, next
	}
	for _, id := range slices.Sorted(slices.Values(p.orders[orderID])) {
		if e, _ := p.book.Get(id); id >= cursor && !take(id, e) {
			break
		}
	}
	return out, next
}
