// Package keda proves the chart's autoscaling with the real KEDA on a real
// Kubernetes control plane, with a real worker and a real daprd for each pod.
package keda

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

const (
	release = "ordersaga"
	workers = "/apis/apps/v1/namespaces/default/deployments/ordersaga-worker"
	scaled  = "/apis/keda.sh/v1alpha1/namespaces/default/scaledobjects/ordersaga-worker"

	most            = 3   // workers
	perWorker       = 150 // sagas at work
	maxLive         = 400
	burst           = 5000
	approvalTimeout = 100 * time.Second
	cooldown        = 10 * time.Second
)

// values are what a person would set, with short times.
func (w *world) values() string {
	w.t.Helper()
	type o = map[string]any
	b, err := json.Marshal(o{
		"aws":        o{"endpoint": w.awsURL},
		"state":      o{"address": "127.0.0.1:6379"}, // for the Component, which this daprd has from elsewhere
		"payment":    o{"appId": w.dapr.Payment, "timeout": "2s"},
		"orders":     o{"approvalAbove": "*=1000", "approvalTimeout": approvalTimeout.String(), "awaitCarrier": false},
		"api":        o{"replicas": 1},
		"worker":     o{"canaryEvery": "5s", "maxLive": maxLive},
		"reconciler": o{"every": "10s", "grace": "30s"},
		"autoscaling": o{
			"enabled": true, "min": 0, "max": most, "pollingSeconds": 2, "cooldownSeconds": cooldown.Seconds(),
			"queue":       o{"url": w.resources.OrderQueue, "perWorker": 250},
			"sagas":       o{"url": w.apiURL + "/load", "perWorker": perWorker},
			"fallback":    o{"failures": 3, "replicas": 1},
			"scaleOut":    o{"policies": []o{{"type": "Pods", "value": 2, "periodSeconds": 5}}},
			"scaleIn":     o{"stabilizationSeconds": 10, "policies": []o{{"type": "Pods", "value": 1, "periodSeconds": 5}}},
			"credentials": o{"secret": "aws"},
		},
	})
	must(w.t, err)
	path := filepath.Join(w.logs, "values.json")
	must(w.t, os.WriteFile(path, b, 0o600))
	return path
}

// TestAutoscaling is one story, each scene from where the one before has ended:
// with no worker and nothing to do.
func TestAutoscaling(t *testing.T) {
	if os.Getenv("ORDERSAGA_KEDA") == "" {
		t.Skip("it takes ten minutes, and wants the machine to itself: `make autoscaling`")
	}
	w := newWorld(t)
	w.stocked()
	w.install("--values", w.values())
	l := newTimeline(w)
	defer func() { w.pictures(l) }()

	l.scene("1-idle", "1. Nothing to do: no worker", func(t *testing.T) {
		l.until(t, "no worker", time.Minute, l.nobody)
		l.always(t, "no worker", 10*time.Second, func(s sample) bool { return s.wanted == 0 })
	})
	l.scene("2-one-order", "2. One order: 0 → 1, it completes, 1 → 0", func(t *testing.T) {
		w.place(t, "one", nil)
		l.mark("one order")
		l.ends(t, order.StatusCompleted, "one")
		l.mark("it has completed")
		l.until(t, "no worker", time.Minute, l.nobody)
	})
	l.scene("3-burst", fmt.Sprintf("3. A burst of %d orders: out to the maximum of %d, and back", burst, most), func(t *testing.T) {
		ids := w.flood(t, "burst", burst, nil)
		l.mark(fmt.Sprint(burst, " orders"))
		l.until(t, "all workers", 2*time.Minute, func(s sample) bool { return s.ready == most })
		l.until(t, "all orders have ended", 8*time.Minute, atRest)
		l.mark("all have ended")
		l.until(t, "no worker", 2*time.Minute, l.nobody)
		w.check(t, ids, map[order.Status]int{order.StatusCompleted: burst + 1})
	})
	l.people()
	l.scaleIn()
	l.faults()

	if left := w.kubelet.killed; len(left) > 0 {
		t.Errorf("had not ended within their grace period: %v", left)
	}
	// Not a failure: daprd 1.18.2 may panic in those that stay while others
	// leave (docs/autoscaling.md). A kubelet starts it again, and the reconciler
	// finds the sagas whose wake-up was lost.
	for _, e := range w.kubelet.ended {
		t.Logf("ended by itself, and was started again: %s", e)
	}
}

// people are scenes in which sagas wait: for themselves, and for persons.
func (l *timeline) people() {
	w := l.w
	l.scene("4a-back-off", "4a. The queue is empty, a saga is in back-off: a worker stays", func(t *testing.T) {
		w.place(t, "down", func(o *order.Order) { o.Payment.Token = "tok_down" })
		l.mark("an order whose payment fails")
		l.until(t, "it is taken in", time.Minute, func(s sample) bool { return s.ready == 1 && s.work == 1 && s.visible+s.inFlight == 0 })
		l.always(t, "a worker", 3*cooldown, func(s sample) bool { return s.wanted == 1 && s.work == 1 })
		w.heal(t)
		l.mark("payments go through again")
		l.ends(t, order.StatusCompleted, "down")
		l.until(t, "no worker", time.Minute, l.nobody)
	})
	dear := func(o *order.Order) { o.Lines[0].UnitPrice = 200_000 }
	l.scene("4b-approval", "4b. A saga waits for a person: no worker, until the person has answered", func(t *testing.T) {
		w.place(t, "dear", dear)
		l.mark("an order to be approved")
		l.until(t, "it sleeps", 90*time.Second, func(s sample) bool { return l.nobody(s) && s.asleep == 1 })
		began := time.Now()
		w.act(t, "dear", "approve")
		l.mark(fmt.Sprintf("approved: the API says so in %.1f s", time.Since(began).Seconds()))
		l.ends(t, order.StatusCompleted, "dear")
		l.mark("completed")
		l.until(t, "no worker", time.Minute, l.nobody)
	})
	l.scene("4c-time-out", "4c. Nobody answers: a worker is there when the time is up", func(t *testing.T) {
		w.place(t, "ignored", dear)
		l.mark("an order to be approved within " + approvalTimeout.String())
		l.until(t, "it sleeps", 90*time.Second, func(s sample) bool { return l.nobody(s) && s.asleep == 1 })
		l.until(t, "a worker is there", approvalTimeout, func(s sample) bool { return s.wanted == 1 && s.ready == 1 && s.live == 1 })
		l.mark("a worker, a minute before")
		l.ends(t, order.StatusCancelled, "ignored")
		l.mark("cancelled")
		l.until(t, "no worker", time.Minute, l.nobody)
	})
}

// scaleIn takes workers away from under their sagas.
func (l *timeline) scaleIn() {
	w := l.w
	l.scene("5-scale-in", "5. Scaled in from 3 to 1 in the middle of the work", func(t *testing.T) {
		const n = 2000
		ids := w.flood(t, "in", n, func(i int, o *order.Order) {
			o.Payment.Token = []string{"tok_ok", "tok_flaky_2", "tok_lost_response", "tok_ok"}[i%4]
		})
		l.mark(fmt.Sprint(n, " orders"))
		l.until(t, "all workers", 2*time.Minute, func(s sample) bool { return s.ready == most })
		w.limit(1)
		l.mark("maximum lowered to 1")
		l.until(t, "one worker", time.Minute, func(s sample) bool { return s.wanted == 1 && w.kubelet.count("worker") == 1 })
		if s := l.last(); s.work < 10 {
			t.Errorf("there was no work left when workers were taken away: %+v", s)
		}
		l.mark(fmt.Sprintf("one is left, and %d sagas at work", l.last().work))
		w.limit(most)
		l.until(t, "all orders have ended", 5*time.Minute, atRest)
		l.until(t, "no worker", 2*time.Minute, l.nobody)
		w.check(t, ids, map[order.Status]int{order.StatusCompleted: burst + 1 + 2 + n, order.StatusCancelled: 1})
	})
}

// faults are of the world around.
func (l *timeline) faults() {
	w := l.w
	l.scene("7a-poison", "7a. Messages that cannot be read: to the dead letters, and no thrashing", func(t *testing.T) {
		from := l.now()
		w.poison(t, 500)
		l.mark("500 unreadable messages")
		l.until(t, "they are dead letters", 2*time.Minute, func(s sample) bool { return s.visible+s.inFlight == 0 && w.dead(t) == 500 })
		l.mark("all are dead letters")
		l.until(t, "no worker", time.Minute, l.nobody)
		l.steady(t, from, 1)
	})
	const n = 2 * perWorker
	var ids []string
	from := l.now()
	l.scene("7b-dead-payment", "7b. The payment service is dead: as many workers as its sagas need, and no thrashing", func(t *testing.T) {
		w.payment.kill()
		ids = w.flood(t, "dead", n, nil)
		l.mark(fmt.Sprint(n, " orders, and no payment service"))
		l.until(t, "all wait for it", 2*time.Minute, func(s sample) bool { return s.visible+s.inFlight == 0 && s.work == n && s.ready == 2 })
		l.always(t, "two workers", 30*time.Second, func(s sample) bool { return s.wanted == 2 })
	})
	l.scene("6-blind", "6. The API is down, too, and the queue empty: KEDA's fallback holds the workers", func(t *testing.T) {
		letGo := w.kubelet.hold("api")
		l.mark("the API is down")
		l.until(t, "KEDA falls back", time.Minute, func(sample) bool { return w.condition(t, "Fallback") == "True" })
		l.mark("KEDA has fallen back")
		l.always(t, "two workers", 3*cooldown, func(s sample) bool { return s.wanted == 2 })
		letGo()
		l.mark("the API is up")
		l.until(t, "the API answers", time.Minute, func(s sample) bool { return s.work >= 0 })
		w.payment.start()
		l.mark("payments go through again")
		l.until(t, "all orders have ended", 5*time.Minute, atRest)
		l.until(t, "no worker", 2*time.Minute, l.nobody)
		l.steady(t, from, 1)
		w.check(t, ids, nil)
	})
}

// atRest: nothing is to be done.
func atRest(s sample) bool { return s.visible == 0 && s.inFlight == 0 && s.live == 0 }

// nobody: no worker is wanted, and none is left.
func (l *timeline) nobody(s sample) bool { return s.wanted == 0 && l.w.kubelet.count("worker") == 0 }

// until waits for a sample.
func (l *timeline) until(t *testing.T, what string, within time.Duration, is func(sample) bool) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	late := time.After(within)
	for {
		if is(l.last()) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within %s: %s: %+v", within, what, l.last())
		}
	}
}

// always looks for so long whether all samples are so.
func (l *timeline) always(t *testing.T, what string, during time.Duration, is func(sample) bool) {
	t.Helper()
	from := l.now()
	l.until(t, "time goes by", 2*during, func(s sample) bool { return s.at > from+during })
	for _, s := range l.since(from) {
		if s.wanted >= 0 && !is(s) {
			t.Errorf("not always, after %s: %s: %+v", (s.at - from).Round(time.Second), what, s)
		}
	}
}

// steady allows the number of workers to change its direction so often.
func (l *timeline) steady(t *testing.T, from time.Duration, most int) {
	t.Helper()
	turns, up, before := 0, true, 0
	var seen []string
	for _, s := range l.since(from) {
		if s.wanted < 0 || s.wanted == before {
			continue
		}
		if rises := s.wanted > before; rises != up {
			turns, up = turns+1, rises
		}
		seen = append(seen, fmt.Sprint(s.wanted))
		before = s.wanted
	}
	if turns > most {
		t.Errorf("thrashes: 0 → %s", strings.Join(seen, " → "))
	}
}

// condition is one of the ScaledObject's.
func (w *world) condition(t *testing.T, kind string) string {
	t.Helper()
	var is struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	must(t, w.cluster.Get(t.Context(), scaled, &is))
	for _, c := range is.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

// limit changes the maximum as an operator does.
func (w *world) limit(n int) {
	w.t.Helper()
	w.helm("upgrade", release, filepath.Join(testkit.Root(w.t), "deploy", "helm", "ordersaga"), "--reuse-values", "--set", fmt.Sprint("autoscaling.max=", n))
}

// act is an operator's.
func (w *world) act(t *testing.T, id, action string) {
	t.Helper()
	res, err := plain.Post(w.apiURL+"/v1/sagas/"+id+"/"+action, "application/json", strings.NewReader(`{"by":"ann"}`))
	must(t, err)
	_ = res.Body.Close() // its status is all that counts
	if res.StatusCode != http.StatusAccepted {
		t.Fatalf("%s %s: %s", action, id, res.Status)
	}
}

func (w *world) heal(t *testing.T) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.payURL+"/v1/heal", http.NoBody)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+providerKey)
	res, err := plain.Do(req)
	must(t, err)
	_ = res.Body.Close() // its status is all that counts
	if res.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("heal payments: %s", res.Status)
	}
}

// pictures are kept where somebody asks for them.
func (w *world) pictures(l *timeline) {
	dir := os.Getenv("ORDERSAGA_KEDA_PICTURES")
	if dir == "" {
		dir = w.logs
	}
	if err := l.write(dir); err != nil {
		w.t.Errorf("pictures: %v", err)
	}
}
