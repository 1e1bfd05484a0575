package payment

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/money"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/text"
)

// The provider's answers. Success is 200, or 201 to a POST; any other status is
// a refusal, and a redirect is an error.
//
// Each type below has what an answer must say to count. One that says less, or
// something else than was asked, is errOdd: the outcome is unknown, the call is
// tried again with the same idempotency key, and in the end refunded. Names are
// matched as encoding/json does, but none may be there twice; 2000.0 is 2000.

// errOdd is an answer that does not prove itself.
var errOdd = errors.New("the provider's answer does not count")

// IsOdd reports whether err is about an answer that does not prove itself, and
// not about one that did not come.
func IsOdd(err error) bool { return errors.Is(err, errOdd) }

func odd(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errOdd}, args...)...)
}

// decode reads an answer, which must be one JSON object that says nothing twice.
func decode(b []byte, out any) error {
	var object map[string]json.RawMessage // null and a list are none
	if err := json.Unmarshal(b, &object); err != nil {
		return odd("it is no JSON object: %w", err)
	}
	if object == nil {
		return odd("it is null")
	}
	b, faults := order.Tolerant(b, out)
	if len(faults) > 0 {
		return odd("%s %s", faults[0].Field, faults[0].Message)
	}
	if err := json.Unmarshal(b, out); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // whose text has Go's types
			return odd("%s must not be a JSON %s", wrong.Field, wrong.Value)
		}
		return odd("decode: %w", err)
	}
	return nil
}

// Statuses of charges and refunds that we know.
const (
	succeeded = "succeeded"
	failed    = "failed"   // of a charge: declined, as a 402 is
	refunded  = "refunded" // of a refund: the same as succeeded
	voided    = "voided"   // of a refund by key: nothing was charged, and nothing will be
)

// chargeVoided is the code of a charge's refusal after a refund by its key.
const chargeVoided = "charge_voided"

// chargeAnswer answers POST /v1/charges. All but code and message must be there.
type chargeAnswer struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	OrderID  string `json:"orderId"`
	Amount   *int64 `json:"amount"`
	Currency string `json:"currency"`
	Code     string `json:"code"` // of one that failed
	Message  string `json:"message"`
}

// charged is the charge's id, *Declined, or errOdd.
func (a chargeAnswer) charged(asked Charge) (id string, err error) {
	switch {
	case !text.IsID(a.ID):
		return "", odd("the charge has no id, or none of at most %d bytes", text.MaxID)
	case a.Status != succeeded && a.Status != failed:
		return "", odd("charge %s is %q", cut(a.ID), cut(a.Status))
	case a.OrderID != asked.OrderID:
		return "", odd("charge %s is of order %q", cut(a.ID), cut(a.OrderID))
	case a.Amount == nil || *a.Amount != asked.Amount || a.Currency != asked.Currency:
		return "", odd("charge %s is over %s, and %s was asked for", cut(a.ID), amount(a.Amount, a.Currency), money.Format(asked.Amount, asked.Currency))
	case a.Status == failed:
		code := a.Code
		if code == "" {
			code = "payment_failed"
		}
		return "", declined(code, a.Message)
	}
	return a.ID, nil
}

// refundAnswer answers POST /v1/refunds. A refund of a charge says which, and
// gives all of it back; one that is voided has no id.
type refundAnswer struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	OrderID  string `json:"orderId"`
	ChargeID string `json:"chargeId"`
	Amount   *int64 `json:"amount"`
	Currency string `json:"currency"`
}

// of reports whether the refund gives a charge back.
func (a refundAnswer) of(e Entry) bool {
	return a.Amount != nil && e.same(Entry{ID: a.ChargeID, Amount: *a.Amount, Currency: a.Currency})
}

func (a refundAnswer) check(asked refund) error {
	switch {
	case a.Status != succeeded && a.Status != refunded && a.Status != voided:
		return odd("the refund is %q", cut(a.Status))
	case a.OrderID != asked.OrderID:
		return odd("the refund is of order %q", cut(a.OrderID))
	case a.Status == voided && asked.ChargeID != "":
		return odd("charge %s was made, and its refund is voided", cut(asked.ChargeID))
	case a.Status == voided && a.ID != "":
		return odd("refund %s is voided, and has an id", cut(a.ID))
	case a.Status != voided && (!text.IsID(a.ID) || !text.IsID(a.ChargeID)):
		return odd("the refund has no id, or no charge, or none of at most %d bytes", text.MaxID)
	case a.Status != voided && (a.Amount == nil || a.Currency == ""):
		return odd("refund %s is over %s", cut(a.ID), amount(a.Amount, a.Currency))
	case asked.ChargeID != "" && !a.of(asked.charge):
		return odd("refund %s gives back %s of charge %s, and charge %s is over %s",
			cut(a.ID), amount(a.Amount, a.Currency), cut(a.ChargeID), cut(asked.ChargeID), money.Format(asked.charge.Amount, cut(asked.charge.Currency)))
	}
	return nil
}

// listAnswer answers GET /v1/charges. Next may be missing, or empty, on the last
// page.
type listAnswer struct {
	Charges *[]json.RawMessage `json:"charges"`
	Next    string             `json:"next"`
}

// entryAnswer is a charge in the ledger. All must be there, and refundId too if
// it was refunded.
type entryAnswer struct {
	ID        string    `json:"id"`
	OrderID   string    `json:"orderId"`
	Amount    *int64    `json:"amount"`
	Currency  string    `json:"currency"`
	Refunded  *bool     `json:"refunded"`
	RefundID  string    `json:"refundId"`
	CreatedAt time.Time `json:"createdAt"`
}

// entries are those of one order, or ("") of any, also those that do not count.
func (a listAnswer) entries(orderID string) ([]Entry, error) {
	if a.Charges == nil {
		return nil, odd("the list has no charges, not even an empty array of them")
	}
	if a.Next != "" && len(*a.Charges) == 0 {
		return nil, odd("the list goes on at %q and gets no further", cut(a.Next))
	}
	entries := make([]Entry, len(*a.Charges))
	for i, raw := range *a.Charges {
		entries[i] = entry(raw, orderID)
	}
	return entries, nil
}

// entry is a charge of that order, or ("") of any. One that does not count has
// the ids that it says, if these are ids, and Odd.
func entry(raw []byte, orderID string) Entry {
	var e entryAnswer
	err := decode(raw, &e)
	if err == nil {
		err = e.check(orderID)
	}
	if err == nil {
		return Entry{ID: e.ID, OrderID: e.OrderID, Amount: *e.Amount, Currency: e.Currency, Refunded: *e.Refunded, RefundID: e.RefundID, CreatedAt: e.CreatedAt}
	}
	var who struct {
		ID      string `json:"id"`
		OrderID string `json:"orderId"`
	}
	_ = json.Unmarshal(raw, &who) // what it does not say stays ""
	out := Entry{Odd: fmt.Errorf("charge %q in the list, of order %q: %w", cut(who.ID), cut(who.OrderID), err)}
	if text.IsID(who.ID) {
		out.ID = who.ID
	}
	if text.IsID(who.OrderID) {
		out.OrderID = who.OrderID
	}
	return out
}

func (e entryAnswer) check(orderID string) error {
	switch {
	case !text.IsID(e.ID):
		return odd("it has no id, or none of at most %d bytes", text.MaxID)
	case e.OrderID == "" || orderID != "" && e.OrderID != orderID:
		return odd("it is of order %q", cut(e.OrderID))
	case e.Amount == nil || *e.Amount < 0 || e.Currency == "":
		return odd("it is over %s", amount(e.Amount, e.Currency))
	case e.Refunded == nil:
		return odd("it does not say whether it was refunded")
	case *e.Refunded && !text.IsID(e.RefundID):
		return odd("it was refunded, and the refund has no id, or none of at most %d bytes", text.MaxID)
	case e.CreatedAt.IsZero():
		return odd("it has no time")
	}
	return nil
}

// refusal is an answer that is neither a charge nor a refund nor a list. Code is
// empty if it is not the provider's word: a proxy's page, say.
type refusal struct {
	status  int
	after   time.Duration
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *refusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("provider answered %d %s %s", e.status, text.Cut(e.Code, text.MaxID), text.Cut(e.Message, text.Max/2)))
}

// RetryAfter is how long the provider asks not to be called again; 0 if it does
// not say.
func (e *refusal) RetryAfter() time.Duration { return e.after }

// retryAfter reads the header of that name, which a 429 or 503 may have: whole
// seconds, or a date by the clock of who sent it, which its Date tells. What is
// neither counts for nothing.
func retryAfter(res *http.Response, now time.Time) time.Duration {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	const most = 24 * 60 * 60 // seconds: more is no number that anybody means
	value := strings.TrimSpace(res.Header.Get("Retry-After"))
	if n, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(n, most)) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if theirs, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		now = theirs
	}
	return min(max(at.Sub(now), 0), most*time.Second)
}

// final makes *Declined and ErrVoided of a charge's refusal that says so.
func final(err error) error {
	r, ok := errors.AsType[*refusal](err)
	switch {
	case ok && r.status == http.StatusPaymentRequired && r.Code != "":
		return declined(r.Code, r.Message)
	case ok && r.status == http.StatusConflict && r.Code == chargeVoided:
		return ErrVoided
	}
	return err
}

func amount(minor *int64, currency string) string {
	if minor == nil {
		return "no amount"
	}
	return money.Format(*minor, cut(currency))
}

// cut shortens what others wrote for an error's text.
func cut(s string) string { return text.Cut(s, 100) }

// declined is the provider's no, whose words end in the order, in messages and
// in the saga's history.
func declined(code, message string) *Declined {
	return &Declined{Code: text.Cut(code, text.MaxID), Message: text.Cut(message, text.Max)}
}
