// Package hostile has counterparts that lie: a payment provider, a carrier, and a proxy in front
// of an AWS endpoint. Each is in front of a simulator that has the true records. It forwards a
// request or not, and then returns another response, or none. A seed decides which lie occurs
// when: the n-th request about an order has the same lie in each run, whatever else happens.
//
// The package's test runs the whole system against them (docs/reliability.md).
package hostile

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// World is the state that the counterparts of one run share. It is safe for concurrent use. The
// fields must not change after Begin.
type World struct {
	// Seed determines all lies.
	Seed uint64
	// Payment, Carrier and AWS are the probabilities with which each of them lies in an
	// exchange, 0 to 1.
	Payment, Carrier, AWS float64
	// Slow is the delay of the payment provider's responses to charges, apart from lies.
	Slow time.Duration
	// SNSDown are the outages of SNS: their start and end after Begin.
	SNSDown [][2]time.Duration

	lying atomic.Bool
	work  sync.WaitGroup // delayed effects and messages

	mu    sync.Mutex
	begun time.Time
	turns map[string]int // exchanges so far, by their subject
	log   []Exchange
	// deceived are the orders with a lie that has everything that a true response has, so that
	// the system cannot detect it at once.
	deceived map[string]string
	broken   []string
}

// Exchange is one request to a counterpart and its response.
type Exchange struct {
	At     time.Duration // after Begin
	With   string        // payment, carrier, aws, or the client of the API
	Orders []string      // ids of the orders that occur in it
	Asked  string        // the request
	Said   string        // the response
	Truth  string        // what really happened; "" if the response is true
}

// Begin starts the lies. Before it, all counterparts are honest.
func (w *World) Begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = time.Now()
	w.lying.Store(true)
}

// Heal ends the lies, and waits for delayed effects and messages.
func (w *World) Heal() {
	w.mu.Lock()
	w.lying.Store(false)
	w.mu.Unlock()
	w.work.Wait()
}

// Dice returns the random numbers of the seed for one purpose.
func (w *World) Dice(purpose ...any) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprintln(h, purpose...)              // a hash never returns an error
	return rand.New(rand.NewPCG(w.Seed, h.Sum64())) //nolint:gosec // a test needs no secure source
}

// turn returns the dice for the next exchange about a subject, and whether it is a lie.
func (w *World) turn(rate float64, about ...any) (dice *rand.Rand, lie bool) {
	key := fmt.Sprint(about...)
	w.mu.Lock()
	if w.turns == nil {
		w.turns = map[string]int{}
	}
	n := w.turns[key]
	if w.lying.Load() {
		w.turns[key]++
	}
	w.mu.Unlock()
	dice = w.Dice(key, n)
	return dice, dice.Float64() < rate && w.lying.Load()
}

// later calls f after a delay, for which Heal waits; at once if the lies have ended.
func (w *World) later(after time.Duration, f func()) {
	w.mu.Lock()
	lying := w.lying.Load()
	if lying {
		w.work.Add(1)
	}
	w.mu.Unlock()
	if !lying {
		f()
		return
	}
	time.AfterFunc(after, func() {
		defer w.work.Done()
		f()
	})
}

// Deceive records a lie about an order that the system cannot detect at once.
func (w *World) Deceive(orderID, lie string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deceived == nil {
		w.deceived = map[string]string{}
	}
	w.deceived[orderID] = lie
}

// Deceived returns the lie that Deceive has recorded for an order, or "".
func (w *World) Deceived(orderID string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deceived[orderID]
}

// Broken returns the violations that the counterparts have observed.
func (w *World) Broken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.broken)
}

// violated records a violation.
func (w *World) violated(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = append(w.broken, what)
}

// Note adds an exchange to the log.
func (w *World) Note(e Exchange) {
	e.Asked, e.Said, e.Truth = cut(e.Asked), cut(e.Said), cut(e.Truth)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun.IsZero() {
		e.At = time.Since(w.begun)
	}
	w.log = append(w.log, e)
}

// About formats the exchanges about these orders. True exchanges with AWS are short.
func (w *World) About(orders ...string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, e := range w.log {
		if !slices.ContainsFunc(orders, func(id string) bool { return slices.Contains(e.Orders, id) }) {
			continue
		}
		if e.With == "aws" && e.Truth == "" { // no lie: one short line is enough
			_, _ = fmt.Fprintf(&b, "%8s  %-8s %.60s -> %.60s\n", e.At.Round(time.Millisecond), e.With, e.Asked, e.Said)
			continue
		}
		_, _ = fmt.Fprintf(&b, "%8s  %-8s %s\n%20s-> %s\n", e.At.Round(time.Millisecond), e.With, e.Asked, "", e.Said)
		if e.Truth != "" {
			_, _ = fmt.Fprintf(&b, "%20sLIE: %s\n", "", cut(e.Truth))
		}
	}
	return b.String()
}

// cut makes one line of a text, with at most 300 bytes of it.
func cut(s string) string {
	const most = 300
	all := len(s)
	s = strings.ToValidUTF8(strings.ReplaceAll(s[:min(all, most)], "\n", " "), "?")
	if all <= most {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", s, all)
}

// orderID matches the order ids of the test.
var orderID = regexp.MustCompile(`\bs\d+-o\d+\b`)

// OrdersIn returns the orders that a text names.
func OrdersIn(text string) []string {
	ids := orderID.FindAllString(text, -1)
	slices.Sort(ids)
	return slices.Compact(ids)
}
