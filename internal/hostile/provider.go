package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Provider returns a payment provider that lies. truth is a simulator with the true records.
func Provider(w *World, truth http.Handler) http.Handler {
	return &provider{world: w, truth: truth, said: map[string][]*answer{}}
}

type provider struct {
	world *World
	truth http.Handler

	mu   sync.Mutex
	said map[string][]*answer // earlier true responses by request
}

// fields are the fields of a request or a response.
type fields map[string]any

// ServeHTTP serves a request of the payment protocol.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has disconnected
	}
	orders := OrdersIn(string(body) + " " + r.URL.RawQuery)
	what := r.Method + " " + r.URL.Path
	e := Exchange{With: "payment", Orders: orders, Asked: what + "?" + r.URL.RawQuery + " " + string(body)}
	if r.Referer() != "" { // Go's client sets it when it follows a redirect
		from := OrdersIn(r.Referer() + string(body) + r.URL.RawQuery)
		p.world.violated(fmt.Sprintf("a redirect was followed: %s for %s", what, strings.Join(from, ", ")))
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

// keep stores a true response, for use as the response to another request.
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
	return respond(200, "application/json", `{"id":"ch_charge-s0-o0","orderId":"s0-o0","amount":1,"currency":"EUR","status":"succeeded"}`)
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
	e.Truth = fmt.Sprintf("done: %t; the true response: %d %s", done, truth.status, truth.body.String())
	reply := func(a *answer) {
		e.Said = fmt.Sprint(a.status, " ", a.body.String())
		p.world.Note(e)
		a.send(w)
	}
	right, plausible := p.right(r, body, truth)
	switch dice.IntN(12) {
	case 0: // no response in time; a request that had no effect may have it after the client's timeout
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
		respond(200, "application/json", right.json()).cutOff(w, dice)
	case 2, 3:
		reply(redirect(r, dice))
	case 4:
		a := p.earlier(what, dice)
		e.Truth += "; the response is one to another request"
		p.deceives(e.Orders, done, a.body.String(), "an earlier answer")
		reply(a)
	case 5: // a rejection with a malicious text
		status := []int{402, 402, 400, 403, 409, 422, 500}[dice.IntN(7)]
		a := respond(status, "application/json", fields{
			"code":    pick(dice, "card_declined", "", long(dice), "charge_voided", "bad\xff\xfeutf8"),
			"message": pick(dice, long(dice), "", "\xc3\x28\x00", "no\nreally"),
		}.json())
		reply(a)
	case 6, 7: // a status, and any body
		status := []int{201, 202, 204, 400, 401, 402, 403, 404, 408, 409, 410, 422, 425, 429, 500, 502, 503, 504}[dice.IntN(18)]
		a := respond(status, "application/json", p.bodies(r, dice, right)[dice.IntN(6)])
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			a.header.Set("Retry-After", pick(dice, "0", "1", "soon", "-5", "Fri, 31 Dec 1999 23:59:59 GMT"))
		}
		if status == http.StatusNoContent {
			a.body.Reset()
		}
		reply(a)
	case 8: // everything that a true response has: only the provider's ledger shows the lie, later
		if plausible && dice.IntN(3) == 0 {
			p.deceives(e.Orders, done, right.json(), "a success for a charge that was not made")
			reply(respond(200, "application/json", right.json()))
			return
		}
		fallthrough
	default:
		bodies := p.bodies(r, dice, right)
		a := respond(200, pick(dice, "application/json", "application/json", "text/html"), bodies[dice.IntN(len(bodies))])
		reply(a)
	}
}

// deceives records a lie that has everything that a true response has.
func (p *provider) deceives(orders []string, done bool, response, lie string) {
	for _, id := range orders {
		if !done && strings.Contains(response, id) {
			p.world.Deceive(id, lie)
		}
	}
}

// right returns the response of a request that had its effect. plausible is true if it did not.
func (p *provider) right(r *http.Request, body []byte, truth *answer) (f fields, plausible bool) {
	f = fields{}
	if truth.status == http.StatusOK && json.Unmarshal(truth.body.Bytes(), &f) == nil {
		return f, false // the true response
	}
	var asked fields
	_ = json.Unmarshal(body, &asked) // a GET has no body
	id, _ := asked["orderId"].(string)
	switch {
	case r.Method == http.MethodGet:
		return fields{"charges": []any{}, "next": ""}, false
	case strings.HasSuffix(r.URL.Path, "/refunds"):
		return fields{
			"id": "re_charge-" + id, "chargeId": "ch_charge-" + id, "orderId": id,
			"amount": 1, "currency": "EUR", "status": "succeeded",
		}, true
	}
	return fields{
		"id": "ch_charge-" + id, "orderId": id, "amount": asked["amount"], "currency": asked["currency"], "status": "succeeded",
	}, true
}

// json returns the fields as JSON.
func (f fields) json() string {
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // it always has a JSON form
	}
	return string(b)
}

// with returns f as JSON with one field changed, or removed if value is nil.
func (f fields) with(name string, value any) string {
	changed := maps.Clone(f)
	changed[name] = value
	if value == nil {
		delete(changed, name)
	}
	return changed.json()
}

// bodies returns bodies in place of the right one. The first ones have no content.
func (p *provider) bodies(r *http.Request, dice *rand.Rand, right fields) []string {
	whole := right.json()
	all := []string{"", "{}", html, "null", "[]", whole[:dice.IntN(len(whole))]}
	if dice.IntN(8) == 0 {
		all = append(all, strings.Repeat(" ", 10<<20)+whole) // larger than any valid response
	}
	if r.Method == http.MethodGet {
		return append(all, p.ledgers(dice, right)...)
	}
	if strings.HasSuffix(r.URL.Path, "/refunds") {
		return append(all,
			right.with("id", ""), right.with("status", "failed"), right.with("status", "pending"), right.with("status", nil),
			right.with("orderId", "s0-o0"),
			`{"id":"re_1","status":"canceled"}`, `{"status":"succeeded"}`, `{"id":17}`,
		)
	}
	return append(all,
		right.with("id", ""), right.with("id", nil), right.with("id", 17),
		right.with("status", "failed"), right.with("status", "pending"), right.with("status", "requires_action"),
		right.with("status", ""), right.with("status", nil),
		right.with("amount", 1), right.with("amount", 0), right.with("amount", -500),
		right.with("amount", "1999"), right.with("amount", nil),
		right.with("currency", "USD"), right.with("currency", nil),
		right.with("orderId", "s0-o0"), right.with("orderId", nil),
		`{"id":"ch_1","status":"succeeded"}`, `{"id":"","status":"succeeded"}`, `{"id":"ch_1","status":"failed"}`,
		`{"charges":[],"next":""}`,
	)
}

// ledgers returns lists of charges that differ from the true one.
func (p *provider) ledgers(dice *rand.Rand, right fields) []string {
	all := []string{
		`{"charges":[]}`, `{"charges":{}}`, `{"charges":[{}],"next":""}`, `{"charges":[null]}`,
		`{"charges":[{"id":"","orderId":"","amount":0}],"next":""}`,
		`{"charges":[{"id":"ch_charge-s0-o0","orderId":"s0-o0","amount":1,"currency":"EUR","status":"succeeded"}],"next":""}`,
		right.with("next", "once more "+strconv.Itoa(dice.IntN(10))), // the same page, endlessly
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
	return append(all,
		one("orderId", "s0-o0"), one("amount", 1), one("currency", "USD"), one("id", ""), one("refunded", true), one("status", "failed"))
}

// redirect returns a redirect, as from a proxy that requires https, or to an address where a GET
// returns 200.
func redirect(r *http.Request, dice *rand.Rand) *answer {
	here := "http://" + r.Host
	a := respond([]int{301, 302, 303, 307, 308, 300, 304}[dice.IntN(7)], "text/html", html)
	a.header.Set("Location", pick(dice,
		here+r.URL.Path, here+"/v1/charges", here+"/healthz", r.URL.Path, here+"/v1/charges?orderId=s0-o0",
		"http://127.0.0.1:1/", "", "::"))
	return a
}

func pick(dice *rand.Rand, of ...string) string { return of[dice.IntN(len(of))] }
