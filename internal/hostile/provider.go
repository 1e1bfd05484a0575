package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Provider is a payment provider whose true book is a simulator's.
func Provider(w *World, truth http.Handler) http.Handler {
	return &provider{world: w, truth: truth, said: map[string][]*answer{}}
}

type provider struct {
	world *World
	truth http.Handler

	mu   sync.Mutex
	said map[string][]*answer // earlier true answers, by what was asked
}

// fields of a request or an answer, whatever it is about.
type fields map[string]any

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	orders := OrdersIn(string(body) + " " + r.URL.RawQuery)
	what := r.Method + " " + r.URL.Path
	e := Exchange{With: "payment", Orders: orders, Asked: what + "?" + r.URL.RawQuery + " " + string(body)}
	if r.Referer() != "" { // Go's client says where it was sent here from
		p.world.violated(fmt.Sprintf("a redirect was followed: %s for %s", what, strings.Join(OrdersIn(r.Referer()+string(body)+r.URL.RawQuery), ", ")))
	}
	dice, lie := p.world.turn(p.world.Payment, "payment", what, orders)
	if r.Method == http.MethodPost && p.world.lying.Load() {
		hang(r, p.world.Slow)
	}
	if !lie {
		a := ask(p.truth, r, body)
		p.keep(what, a)
		e.Said = fmt.Sprint(a.status, " ", a.body.String())
		p.world.Note(e)
		a.send(w)
		return
	}
	p.lie(w, r, dice, body, e)
}

// keep remembers a true answer, to give it to somebody else.
func (p *provider) keep(what string, a *answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.status == http.StatusOK && len(p.said[what]) < 20 {
		p.said[what] = append(p.said[what], a)
	}
}

func (p *provider) earlier(what string, dice *rand.Rand) *answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.said[what]); n > 0 {
		return p.said[what][dice.IntN(n)]
	}
	return say(200, "application/json", `{"id":"ch_charge-s0-o0","orderId":"s0-o0","amount":1,"currency":"EUR","status":"succeeded"}`)
}

func (p *provider) lie(w http.ResponseWriter, r *http.Request, dice *rand.Rand, body []byte, e Exchange) {
	what := r.Method + " " + r.URL.Path
	done := r.Method == http.MethodGet || dice.IntN(2) == 0
	truth := &answer{status: http.StatusTeapot}
	if done {
		truth = ask(p.truth, r, body)
		p.keep(what, truth)
		done = truth.status == http.StatusOK
	}
	e.Truth = fmt.Sprintf("done: %t; the true answer: %d %s", done, truth.status, truth.body.String())
	tell := func(a *answer) {
		e.Said = fmt.Sprint(a.status, " ", a.body.String())
		p.world.Note(e)
		a.send(w)
	}
	right, plausible := p.right(r, body, truth)
	switch dice.IntN(12) {
	case 0: // nothing, in time; and what was not done may be done when nobody waits for it any more
		if !done && dice.IntN(2) == 0 {
			e.Truth += "; done later"
			late := r.Clone(context.Background())
			p.world.later(time.Duration(dice.IntN(400))*time.Millisecond, func() { ask(p.truth, late, body) })
		}
		e.Said = "(too late)"
		p.world.Note(e)
		hang(r, time.Second)
		panic(http.ErrAbortHandler)
	case 1:
		e.Said = "(connection cut)"
		p.world.Note(e)
		say(200, "application/json", right.json()).cutOff(w, dice)
	case 2, 3:
		tell(redirect(r, dice))
	case 4:
		a := p.earlier(what, dice)
		e.Truth += "; this answer is one to another request"
		p.deceives(e.Orders, done, a.body.String(), "an earlier answer")
		tell(a)
	case 5: // a refusal with text that does harm
		a := say([]int{402, 402, 400, 403, 409, 422, 500}[dice.IntN(7)], "application/json",
			fields{"code": pick(dice, "card_declined", "", long(dice), "charge_voided", "bad\xff\xfeutf8"), "message": pick(dice, long(dice), "", "\xc3\x28\x00", "no\nreally")}.json())
		tell(a)
	case 6, 7: // a status, and any body
		status := []int{201, 202, 204, 400, 401, 402, 403, 404, 408, 409, 410, 422, 425, 429, 500, 502, 503, 504}[dice.IntN(18)]
		a := say(status, "application/json", p.bodies(r, dice, right)[dice.IntN(6)])
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			a.header.Set("Retry-After", pick(dice, "0", "1", "soon", "-5", "Fri, 31 Dec 1999 23:59:59 GMT"))
		}
		if status == http.StatusNoContent {
			a.body.Reset()
		}
		tell(a)
	case 8: // all that a true answer has: only the ledger can tell, later
		if plausible && dice.IntN(3) == 0 {
			p.deceives(e.Orders, done, right.json(), "a charge that was not made, said to be")
			tell(say(200, "application/json", right.json()))
			return
		}
		fallthrough
	default:
		bodies := p.bodies(r, dice, right)
		a := say(200, pick(dice, "application/json", "application/json", "text/html"), bodies[dice.IntN(len(bodies))])
		tell(a)
	}
}

// deceives notes a lie that has all that a true answer has.
func (p *provider) deceives(orders []string, done bool, said, lie string) {
	for _, id := range orders {
		if !done && strings.Contains(said, id) {
			p.world.Deceive(id, lie)
		}
	}
}

// right is what a true answer would say, had it been done.
func (p *provider) right(r *http.Request, body []byte, truth *answer) (f fields, plausible bool) {
	f = fields{}
	if truth.status == http.StatusOK && json.Unmarshal(truth.body.Bytes(), &f) == nil {
		return f, false // it is true
	}
	var asked fields
	_ = json.Unmarshal(body, &asked) // of a GET there is none
	id, _ := asked["orderId"].(string)
	switch {
	case r.Method == http.MethodGet:
		return fields{"charges": []any{}, "next": ""}, false
	case strings.HasSuffix(r.URL.Path, "/refunds"):
		return fields{"id": "re_charge-" + id, "chargeId": "ch_charge-" + id, "orderId": id, "amount": 1, "currency": "EUR", "status": "succeeded"}, true
	}
	return fields{"id": "ch_charge-" + id, "orderId": id, "amount": asked["amount"], "currency": asked["currency"], "status": "succeeded"}, true
}

func (f fields) json() string {
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // it has only what JSON has
	}
	return string(b)
}

// with is f with one field changed.
func (f fields) with(name string, value any) string {
	changed := fields{}
	for k, v := range f {
		changed[k] = v
	}
	changed[name] = value
	if value == nil {
		delete(changed, name)
	}
	return changed.json()
}

// bodies are what is said in place of the right answer. The first ones say
// nothing at all.
func (p *provider) bodies(r *http.Request, dice *rand.Rand, right fields) []string {
	whole := right.json()
	all := []string{"", "{}", html, "null", "[]", whole[:dice.IntN(len(whole))]}
	if dice.IntN(8) == 0 {
		all = append(all, strings.Repeat(" ", 10<<20)+whole) // more than anybody needs to read
	}
	if r.Method == http.MethodGet {
		return append(all, p.ledgers(dice, right)...)
	}
	if strings.HasSuffix(r.URL.Path, "/refunds") {
		return append(all,
			right.with("id", ""), right.with("status", "failed"), right.with("status", "pending"), right.with("status", nil), right.with("orderId", "s0-o0"),
			`{"id":"re_1","status":"canceled"}`, `{"status":"succeeded"}`, `{"id":17}`,
		)
	}
	return append(all,
		right.with("id", ""), right.with("id", nil), right.with("id", 17),
		right.with("status", "failed"), right.with("status", "pending"), right.with("status", "requires_action"), right.with("status", ""), right.with("status", nil),
		right.with("amount", 1), right.with("amount", 0), right.with("amount", -500), right.with("amount", "1999"), right.with("amount", nil),
		right.with("currency", "USD"), right.with("currency", nil),
		right.with("orderId", "s0-o0"), right.with("orderId", nil),
		`{"id":"ch_1","status":"succeeded"}`, `{"id":"","status":"succeeded"}`, `{"id":"ch_1","status":"failed"}`,
		`{"charges":[],"next":""}`,
	)
}

// ledgers are lists of charges that are not the true one.
func (p *provider) ledgers(dice *rand.Rand, right fields) []string {
	all := []string{
		`{"charges":[]}`, `{"charges":{}}`, `{"charges":[{}],"next":""}`, `{"charges":[null]}`,
		`{"charges":[{"id":"","orderId":"","amount":0}],"next":""}`,
		`{"charges":[{"id":"ch_charge-s0-o0","orderId":"s0-o0","amount":1,"currency":"EUR","status":"succeeded"}],"next":""}`,
		right.with("next", "once more "+strconv.Itoa(dice.IntN(10))), // the same page, for ever
	}
	list, _ := right["charges"].([]any)
	if len(list) == 0 {
		return all
	}
	entry, ok := list[dice.IntN(len(list))].(map[string]any)
	if !ok {
		return all
	}
	one := func(name string, value any) string {
		return fields{"charges": []any{json.RawMessage(fields(entry).with(name, value))}, "next": ""}.json()
	}
	return append(all, one("orderId", "s0-o0"), one("amount", 1), one("currency", "USD"), one("id", ""), one("refunded", true), one("status", "failed"))
}

// redirect sends the client elsewhere, as a front does that wants https, or to
// where a GET answers 200.
func redirect(r *http.Request, dice *rand.Rand) *answer {
	here := "http://" + r.Host
	a := say([]int{301, 302, 303, 307, 308, 300, 304}[dice.IntN(7)], "text/html", html)
	a.header.Set("Location", pick(dice, here+r.URL.Path, here+"/v1/charges", here+"/healthz", r.URL.Path, here+"/v1/charges?orderId=s0-o0", "http://127.0.0.1:1/", "", "::"))
	return a
}

func pick(dice *rand.Rand, of ...string) string { return of[dice.IntN(len(of))] }
