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

// The provider's responses. Success is 200, or 201 to a POST; any other status is a refusal,
// and a redirect is an error.
//
// Each type below has the fields that a valid response must have. A response that lacks one,
// or does not match the request, is errInvalid: the outcome is unknown. The saga retries the
// request with the same idempotency key, and finally refunds. Names are matched as
// encoding/json does, but none may be repeated; 2000.0 is 2000.

// errInvalid is wrapped by the error of a response that does not prove itself.
var errInvalid = errors.New("the provider's response is invalid")

// IsInvalidResponse reports whether err is about a response that is not accepted, as opposed
// to a missing one.
func IsInvalidResponse(err error) bool { return errors.Is(err, errInvalid) }

func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errInvalid}, args...)...)
}

// decode decodes a response, which must be one JSON object without repeated fields.
func decode(b []byte, out any) error {
	var object map[string]json.RawMessage // null and a list are not objects
	if err := json.Unmarshal(b, &object); err != nil {
		return invalidf("it is not a JSON object: %w", err)
	}
	if object == nil {
		return invalidf("it is null")
	}
	b, faults := order.Tolerant(b, out)
	if len(faults) > 0 {
		return invalidf("%s %s", faults[0].Field, faults[0].Message)
	}
	if err := json.Unmarshal(b, out); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // its text contains Go types
			return invalidf("%s must not be a JSON %s", wrong.Field, wrong.Value)
		}
		return invalidf("decode: %w", err)
	}
	return nil
}

// Known statuses of charges and refunds.
const (
	succeeded = "succeeded"
	failed    = "failed"   // of a charge: declined, as with status 402
	refunded  = "refunded" // of a refund: the same as succeeded
	voided    = "voided"   // of a refund by key: nothing was charged, and a later charge will fail
)

// chargeVoided is the code of the refusal of a charge after a refund by its key.
const chargeVoided = "charge_voided"

// chargeResponse is the response to POST /v1/charges. All fields but code and message are
// required.
type chargeResponse struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	OrderID  string `json:"orderId"`
	Amount   *int64 `json:"amount"`
	Currency string `json:"currency"`
	Code     string `json:"code"` // of a failed charge
	Message  string `json:"message"`
}

// charged returns the charge's id, or the error *DeclinedError or errInvalid.
func (a chargeResponse) charged(asked Charge) (id string, err error) {
	switch {
	case !text.IsID(a.ID):
		return "", invalidf("the charge has no id, or one of more than %d bytes", text.MaxID)
	case a.Status != succeeded && a.Status != failed:
		return "", invalidf("charge %s has the status %q", cut(a.ID), cut(a.Status))
	case a.OrderID != asked.OrderID:
		return "", invalidf("charge %s is of order %q", cut(a.ID), cut(a.OrderID))
	case a.Amount == nil || *a.Amount != asked.Amount || a.Currency != asked.Currency:
		return "", invalidf(
			"charge %s is over %s, and %s was requested",
			cut(a.ID),
			amount(a.Amount, a.Currency),
			money.Format(asked.Amount, asked.Currency),
		)
	case a.Status == failed:
		code := a.Code
		if code == "" {
			code = "payment_failed"
		}
		return "", declined(code, a.Message)
	}
	return a.ID, nil
}

// refundResponse is the response to POST /v1/refunds. A refund has its charge, and the whole
// amount of that. With status voided it has no id.
type refundResponse struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	OrderID  string `json:"orderId"`
	ChargeID string `json:"chargeId"`
	Amount   *int64 `json:"amount"`
	Currency string `json:"currency"`
}

// of reports whether the refund is of a charge.
func (a refundResponse) of(e Entry) bool {
	return a.Amount != nil && e.same(Entry{ID: a.ChargeID, Amount: *a.Amount, Currency: a.Currency})
}

// check returns errInvalid unless the response matches the request.
func (a refundResponse) check(asked refund) error {
	switch {
	case a.Status != succeeded && a.Status != refunded && a.Status != voided:
		return invalidf("the refund has the status %q", cut(a.Status))
	case a.OrderID != asked.OrderID:
		return invalidf("the refund is of order %q", cut(a.OrderID))
	case a.Status == voided && asked.ChargeID != "":
		return invalidf("charge %s was made, and its refund has the status voided", cut(asked.ChargeID))
	case a.Status == voided && a.ID != "":
		return invalidf("refund %s has the status voided and an id", cut(a.ID))
	case a.Status != voided && (!text.IsID(a.ID) || !text.IsID(a.ChargeID)):
		return invalidf("the refund has no id or no charge, or one with more than %d bytes", text.MaxID)
	case a.Status != voided && (a.Amount == nil || a.Currency == ""):
		return invalidf("refund %s is over %s", cut(a.ID), amount(a.Amount, a.Currency))
	case asked.ChargeID != "" && !a.of(asked.charge):
		return invalidf(
			"refund %s is of %s of charge %s, and charge %s is over %s",
			cut(
				a.ID,
			),
			amount(a.Amount, a.Currency),
			cut(a.ChargeID),
			cut(asked.ChargeID),
			money.Format(asked.charge.Amount, cut(asked.charge.Currency)),
		)
	}
	return nil
}

// listResponse is the response to GET /v1/charges. Next is absent or empty on the last page.
type listResponse struct {
	Charges *[]json.RawMessage `json:"charges"`
	Next    string             `json:"next"`
}

// entryResponse is a charge in the ledger. All fields are required; refundId only if it was
// refunded.
type entryResponse struct {
	ID        string    `json:"id"`
	OrderID   string    `json:"orderId"`
	Amount    *int64    `json:"amount"`
	Currency  string    `json:"currency"`
	Refunded  *bool     `json:"refunded"`
	RefundID  string    `json:"refundId"`
	CreatedAt time.Time `json:"createdAt"`
}

// entries returns the entries of a page, invalid ones included. They must be of the order; ""
// means any order.
func (a listResponse) entries(orderID string) ([]Entry, error) {
	if a.Charges == nil {
		return nil, invalidf("the list has no array of charges")
	}
	if a.Next != "" && len(*a.Charges) == 0 {
		return nil, invalidf("the list continues at %q with an empty page", cut(a.Next))
	}
	entries := make([]Entry, len(*a.Charges))
	for i, raw := range *a.Charges {
		entries[i] = entry(raw, orderID)
	}
	return entries, nil
}

// entry returns one entry of the order; "" means any order. An invalid one has its ids, if
// these are valid, and the reason.
func entry(raw []byte, orderID string) Entry {
	var e entryResponse
	err := decode(raw, &e)
	if err == nil {
		err = e.check(orderID)
	}
	if err == nil {
		return Entry{
			ID:        e.ID,
			OrderID:   e.OrderID,
			Amount:    *e.Amount,
			Currency:  e.Currency,
			Refunded:  *e.Refunded,
			RefundID:  e.RefundID,
			CreatedAt: e.CreatedAt,
		}
	}
	var ids struct {
		ID      string `json:"id"`
		OrderID string `json:"orderId"`
	}
	_ = json.Unmarshal(raw, &ids) // a missing id stays ""
	out := Entry{Invalid: fmt.Errorf("charge %q in the list, of order %q: %w", cut(ids.ID), cut(ids.OrderID), err)}
	if text.IsID(ids.ID) {
		out.ID = ids.ID
	}
	if text.IsID(ids.OrderID) {
		out.OrderID = ids.OrderID
	}
	return out
}

// check returns errInvalid unless the entry is complete and of the order.
func (e entryResponse) check(orderID string) error {
	switch {
	case !text.IsID(e.ID):
		return invalidf("it has no id, or one of more than %d bytes", text.MaxID)
	case e.OrderID == "" || orderID != "" && e.OrderID != orderID:
		return invalidf("it is of order %q", cut(e.OrderID))
	case e.Amount == nil || *e.Amount < 0 || e.Currency == "":
		return invalidf("it is over %s", amount(e.Amount, e.Currency))
	case e.Refunded == nil:
		return invalidf("it lacks the field refunded")
	case *e.Refunded && !text.IsID(e.RefundID):
		return invalidf("it was refunded, and the refund has no id, or one of more than %d bytes", text.MaxID)
	case e.CreatedAt.IsZero():
		return invalidf("it lacks the field createdAt")
	}
	return nil
}

// refusal is a response that is neither a charge nor a refund nor a list. Code is empty if the
// response is not the provider's, such as a proxy's error page.
type refusal struct {
	status  int
	after   time.Duration
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error returns the status, code and message.
func (e *refusal) Error() string {
	return strings.TrimSpace(
		fmt.Sprintf("provider returned %d %s %s", e.status, text.Cut(e.Code, text.MaxID), text.Cut(e.Message, text.Max/2)),
	)
}

// RetryAfter returns the delay that the provider requests before the next attempt; 0 if it
// requests none.
func (e *refusal) RetryAfter() time.Duration { return e.after }

// retryAfter parses the Retry-After header of a 429 or 503: whole seconds, or a date by the
// sender's clock, which is in its Date header. It returns 0 for anything else.
func retryAfter(res *http.Response, now time.Time) time.Duration {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	const maxSeconds = 24 * 60 * 60 // a longer delay is an error of the sender
	value := strings.TrimSpace(res.Header.Get("Retry-After"))
	if n, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(n, maxSeconds)) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if theirs, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		now = theirs
	}
	return min(max(at.Sub(now), 0), maxSeconds*time.Second)
}

// final converts the refusal of a charge to *DeclinedError or ErrVoided, if it is one of these.
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

// amount formats an amount that may be missing.
func amount(minor *int64, currency string) string {
	if minor == nil {
		return "no amount"
	}
	return money.Format(*minor, cut(currency))
}

// cut limits a text from outside in an error.
func cut(s string) string { return text.Cut(s, 100) }

// declined returns a decline with texts of limited length: they are stored in the order, in
// messages and in the saga's history.
func declined(code, message string) *DeclinedError {
	return &DeclinedError{Code: text.Cut(code, text.MaxID), Message: text.Cut(message, text.Max)}
}
