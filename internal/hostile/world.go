// Package hostile has counterparts that lie: a payment provider, a carrier, and
// a proxy before an AWS endpoint. Each stands before a simulator that has the
// true book, does or does not do what is asked there, and then says something
// else, or nothing. A seed decides which lie is told when: the n-th request
// about an order gets the same one each time, whatever else goes on.
//
// The package's test runs the whole system among them (docs/reliability.md).
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

// World is what the counterparts of one run share. It is safe for concurrent use.
type World struct {
	// Seed decides all lies.
	Seed uint64
	// Payment, Carrier and AWS are the shares of exchanges in which each of them
	// lies, 0 to 1.
	Payment, Carrier, AWS float64
	// Slow is how long the payment provider takes for a charge, lies apart.
	Slow time.Duration
	// SNSDown are times after Begin between which SNS takes nothing.
	SNSDown [][2]time.Duration

	lying atomic.Bool
	work  sync.WaitGroup // what is done or said later

	mu    sync.Mutex
	begun time.Time
	turns map[string]int // exchanges so far, by what they are about
	log   []Exchange
	// deceived are orders about which a lie was told that has all that a true
	// answer has: nobody can see through it at once.
	deceived map[string]string
	broken   []string
}

// Exchange is one request to a counterpart and what it said.
type Exchange struct {
	At     time.Duration
	With   string // payment, carrier, aws, or who asked the API
	Orders []string
	Asked  string
	Said   string
	Truth  string // what really happened, if something else was said
}

// Begin starts the lies; before, all are honest.
func (w *World) Begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = time.Now()
	w.lying.Store(true)
}

// Heal ends the lies, and waits for what was to be done or said later.
func (w *World) Heal() {
	w.lying.Store(false)
	w.work.Wait()
}

// Dice are the seed's for one purpose.
func (w *World) Dice(purpose ...any) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprintln(h, purpose...)              // a hash takes everything
	return rand.New(rand.NewPCG(w.Seed, h.Sum64())) //nolint:gosec // a test's dice
}

// turn is the dice for the next exchange of that kind, and whether it is a lie.
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

// later does something after a while. Heal waits for it.
func (w *World) later(after time.Duration, f func()) {
	w.work.Add(1)
	time.AfterFunc(after, func() {
		defer w.work.Done()
		f()
	})
}

// Deceive notes that a lie about an order was told that nobody can see through.
func (w *World) Deceive(orderID, lie string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deceived == nil {
		w.deceived = map[string]string{}
	}
	w.deceived[orderID] = lie
}

// Deceived is that lie, or "".
func (w *World) Deceived(orderID string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deceived[orderID]
}

// Broken is what the counterparts have seen that must not be.
func (w *World) Broken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.broken)
}

func (w *World) violated(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = append(w.broken, what)
}

// Note adds to the log.
func (w *World) Note(e Exchange) {
	e.Asked, e.Said, e.Truth = cut(e.Asked), cut(e.Said), cut(e.Truth)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun.IsZero() {
		e.At = time.Since(w.begun)
	}
	w.log = append(w.log, e)
}

// About prints the exchanges about these orders: of one in which nobody lied
// only what was asked and said.
func (w *World) About(orders ...string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, e := range w.log {
		if !slices.ContainsFunc(orders, func(id string) bool { return slices.Contains(e.Orders, id) }) {
			continue
		}
		if e.With == "aws" && e.Truth == "" { // nobody lied: what was asked is enough
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

// cut makes a line of what was said.
func cut(s string) string {
	const most = 300
	all := len(s)
	s = strings.ToValidUTF8(strings.ReplaceAll(s[:min(all, most)], "\n", " "), "?")
	if all <= most {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", s, all)
}

// orderID is how the test names orders.
var orderID = regexp.MustCompile(`\bs\d+-o\d+\b`)

// OrdersIn are the orders that a text names.
func OrdersIn(text string) []string {
	ids := orderID.FindAllString(text, -1)
	slices.Sort(ids)
	return slices.Compact(ids)
}
