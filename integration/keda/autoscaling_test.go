// Package keda tests the chart's autoscaling with the real KEDA on a real Kubernetes control
// plane. Each pod has a real worker and a real daprd.
package keda

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

const (
	release = "ordersaga"
	workers = "/apis/apps/v1/namespaces/default/deployments/ordersaga-worker"
	scaled  = "/apis/keda.sh/v1alpha1/namespaces/default/scaledobjects/ordersaga-worker"

	maxWorkers      = 3
	perWorker       = 150  // target of sagas with work to do per worker
	maxLive         = 400  // sagas in flight per worker
	burst           = 5000 // orders
	approvalTimeout = 100 * time.Second
	cooldown        = 10 * time.Second
)

// values writes a values file such as an operator would write, with short intervals. It returns
// the path.
func (e *env) values() (path string) {
	e.t.Helper()
	type o = map[string]any
	b, err := json.Marshal(o{
		"aws":        o{"endpoint": e.awsURL},
		"state":      o{"address": "127.0.0.1:6379"}, // required by the chart; the daprd of this test has other components
		"payment":    o{"appId": e.dapr.Payment, "timeout": "2s"},
		"orders":     o{"approvalAbove": "*=1000", "approvalTimeout": approvalTimeout.String(), "awaitCarrier": false},
		"api":        o{"replicas": 1},
		"worker":     o{"canaryEvery": "5s", "maxLive": maxLive},
		"reconciler": o{"every": "10s", "grace": "30s"},
		"autoscaling": o{
			"enabled": true, "min": 0, "max": maxWorkers, "pollingSeconds": 2, "cooldownSeconds": cooldown.Seconds(),
			"queue":       o{"url": e.resources.OrderQueue, "perWorker": 250},
			"sagas":       o{"url": e.apiURL + "/load", "perWorker": perWorker},
			"fallback":    o{"failures": 3, "replicas": 1},
			"scaleOut":    o{"policies": []o{{"type": "Pods", "value": 2, "periodSeconds": 5}}},
			"scaleIn":     o{"stabilizationSeconds": 10, "policies": []o{{"type": "Pods", "value": 1, "periodSeconds": 5}}},
			"credentials": o{"secret": "aws"},
		},
	})
	require.NoError(e.t, err)
	path = filepath.Join(e.logs, "values.json")
	require.NoError(e.t, os.WriteFile(path, b, 0o600))
	return path
}

// TestAutoscaling runs scenes one after another. Each starts and ends with no worker and nothing
// to do, except that 6-blind continues 7b-dead-payment. A scene that fails stops the test.
func TestAutoscaling(t *testing.T) {
	if os.Getenv("ORDERSAGA_KEDA") == "" {
		t.Skip("takes ten minutes and needs the machine for itself: run `make autoscaling`")
	}
	e := newEnv(t)
	e.setStock()
	e.install("--values", e.values())
	l := newTimeline(e)
	defer func() { e.pictures(l) }()

	l.scene("1-idle", "1. Nothing to do: no worker", func(t *testing.T) {
		l.waitFor(t, "no worker", time.Minute, l.noWorkers)
		l.always(t, "no worker", 10*time.Second, func(s sample) bool { return s.wanted == 0 })
	})
	l.scene("2-one-order", "2. One order: 0 → 1, it completes, 1 → 0", func(t *testing.T) {
		e.place(t, "one", nil)
		l.mark("one order")
		l.waitForStatus(t, order.StatusCompleted, "one")
		l.mark("completed")
		l.waitFor(t, "no worker", time.Minute, l.noWorkers)
	})
	l.scene("3-burst", fmt.Sprintf("3. A burst of %d orders: out to the maximum of %d, and back", burst, maxWorkers), func(t *testing.T) {
		ids := e.placeMany(t, "burst", burst, nil)
		l.mark(fmt.Sprint(burst, " orders"))
		l.waitFor(t, "all workers", 2*time.Minute, func(s sample) bool { return s.ready == maxWorkers })
		l.waitFor(t, "all orders have ended", 8*time.Minute, atRest)
		l.mark("all orders have ended")
		l.waitFor(t, "no worker", 2*time.Minute, l.noWorkers)
		e.check(t, ids, map[order.Status]int{order.StatusCompleted: burst + 1})
	})
	l.waitingScenes()
	l.scaleInScene()
	l.faultScenes()

	if pods := e.kubelet.killed; len(pods) > 0 {
		t.Errorf("pods that did not end within their grace period = %v, want none", pods)
	}
	// These are no failures: daprd 1.18.2 may panic while other sidecars stop
	// (docs/autoscaling.md). A kubelet restarts it, and the reconciler finds the
	// sagas whose wake-up was lost.
	for _, exit := range e.kubelet.exits {
		t.Logf("exited unexpectedly and was restarted: %s", exit)
	}
}

// waitingScenes are scenes in which sagas wait for a retry or for an approval.
func (l *timeline) waitingScenes() {
	e := l.e
	l.scene("4a-back-off", "4a. The queue is empty and a saga is in back-off: one worker stays", func(t *testing.T) {
		e.place(t, "down", func(o *order.Order) { o.Payment.Token = "tok_down" })
		l.mark("an order whose payment fails")
		l.waitFor(t, "the saga has started", time.Minute, func(s sample) bool { return s.ready == 1 && s.work == 1 && s.visible+s.inFlight == 0 })
		l.always(t, "a worker", 3*cooldown, func(s sample) bool { return s.wanted == 1 && s.work == 1 })
		e.heal(t)
		l.mark("payments succeed again")
		l.waitForStatus(t, order.StatusCompleted, "down")
		l.waitFor(t, "no worker", time.Minute, l.noWorkers)
	})
	expensive := func(o *order.Order) { o.Lines[0].UnitPrice = 200_000 }
	l.scene("4b-approval", "4b. A saga waits for approval: no worker until it is approved", func(t *testing.T) {
		e.place(t, "dear", expensive)
		l.mark("an order that needs approval")
		l.waitFor(t, "the saga is asleep", 90*time.Second, func(s sample) bool { return l.noWorkers(s) && s.asleep == 1 })
		began := time.Now()
		e.act(t, "dear", "approve")
		l.mark(fmt.Sprintf("approved: the API responds in %.1f s", time.Since(began).Seconds()))
		l.waitForStatus(t, order.StatusCompleted, "dear")
		l.mark("completed")
		l.waitFor(t, "no worker", time.Minute, l.noWorkers)
	})
	l.scene("4c-time-out", "4c. No approval: a worker is ready before the timeout", func(t *testing.T) {
		e.place(t, "ignored", expensive)
		l.mark("an order that needs approval within " + approvalTimeout.String())
		l.waitFor(t, "the saga is asleep", 90*time.Second, func(s sample) bool { return l.noWorkers(s) && s.asleep == 1 })
		l.waitFor(t, "a worker is ready", approvalTimeout, func(s sample) bool { return s.wanted == 1 && s.ready == 1 && s.live == 1 })
		l.mark("a worker, a minute before the timeout")
		l.waitForStatus(t, order.StatusCancelled, "ignored")
		l.mark("cancelled")
		l.waitFor(t, "no worker", time.Minute, l.noWorkers)
	})
}

// scaleInScene removes workers that have sagas in flight.
func (l *timeline) scaleInScene() {
	e := l.e
	l.scene("5-scale-in", "5. Scale-in from 3 to 1 with sagas in flight", func(t *testing.T) {
		const n = 2000
		ids := e.placeMany(t, "in", n, func(i int, o *order.Order) {
			o.Payment.Token = []string{"tok_ok", "tok_flaky_2", "tok_lost_response", "tok_ok"}[i%4]
		})
		l.mark(fmt.Sprint(n, " orders"))
		l.waitFor(t, "all workers", 2*time.Minute, func(s sample) bool { return s.ready == maxWorkers })
		e.limit(1)
		l.mark("maximum lowered to 1")
		l.waitFor(t, "one worker", time.Minute, func(s sample) bool { return s.wanted == 1 && e.kubelet.count("worker") == 1 })
		if s := l.last(); s.work < 10 {
			t.Errorf("sagas with work to do when workers were removed = %d, want at least 10: %+v", s.work, s)
		}
		l.mark(fmt.Sprintf("one worker left, %d sagas at work", l.last().work))
		e.limit(maxWorkers)
		l.waitFor(t, "all orders have ended", 5*time.Minute, atRest)
		l.waitFor(t, "no worker", 2*time.Minute, l.noWorkers)
		e.check(t, ids, map[order.Status]int{order.StatusCompleted: burst + 1 + 2 + n, order.StatusCancelled: 1})
	})
}

// faultScenes are scenes with unreadable messages, and without the payment service and the API.
func (l *timeline) faultScenes() {
	e := l.e
	l.scene("7a-poison", "7a. Unreadable messages: dead letters, and no thrashing", func(t *testing.T) {
		from := l.now()
		e.poison(t, 500)
		l.mark("500 unreadable messages")
		l.waitFor(t, "all messages are dead letters", 2*time.Minute, func(s sample) bool {
			return s.visible+s.inFlight == 0 && e.deadLetters(t) == 500
		})
		l.mark("all are dead letters")
		l.waitFor(t, "no worker", time.Minute, l.noWorkers)
		l.steady(t, from, 1)
	})
	const n = 2 * perWorker
	var ids []string
	from := l.now()
	l.scene("7b-dead-payment", "7b. The payment service is down: as many workers as its sagas need, and no thrashing", func(t *testing.T) {
		e.payment.kill()
		ids = e.placeMany(t, "dead", n, nil)
		l.mark(fmt.Sprint(n, " orders, and no payment service"))
		l.waitFor(t, "all sagas wait for payment", 2*time.Minute, func(s sample) bool {
			return s.visible+s.inFlight == 0 && s.work == n && s.ready == 2
		})
		l.always(t, "two workers", 30*time.Second, func(s sample) bool { return s.wanted == 2 })
	})
	l.scene("6-blind", "6. The API is down too, and the queue is empty: KEDA's fallback keeps the workers", func(t *testing.T) {
		release := e.kubelet.hold("api")
		l.mark("the API is down")
		l.waitFor(t, "KEDA falls back", time.Minute, func(sample) bool { return e.condition(t, "Fallback") == "True" })
		l.mark("KEDA has fallen back")
		l.always(t, "two workers", 3*cooldown, func(s sample) bool { return s.wanted == 2 })
		release()
		l.mark("the API is up")
		l.waitFor(t, "the API responds", time.Minute, func(s sample) bool { return s.work >= 0 })
		e.payment.start()
		l.mark("payments succeed again")
		l.waitFor(t, "all orders have ended", 5*time.Minute, atRest)
		l.waitFor(t, "no worker", 2*time.Minute, l.noWorkers)
		l.steady(t, from, 1)
		e.check(t, ids, nil)
	})
}

// atRest reports whether there is nothing to do.
func atRest(s sample) bool { return s.visible == 0 && s.inFlight == 0 && s.live == 0 }

// noWorkers reports whether no worker is wanted and none runs.
func (l *timeline) noWorkers(s sample) bool { return s.wanted == 0 && l.e.kubelet.count("worker") == 0 }

// waitFor waits for a sample for which is returns true.
func (l *timeline) waitFor(t *testing.T, what string, within time.Duration, is func(sample) bool) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(within)
	for {
		if is(l.last()) {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("timed out after %s waiting for: %s: last sample %+v", within, what, l.last())
		}
	}
}

// always checks that is returns true for all samples of a period.
func (l *timeline) always(t *testing.T, what string, during time.Duration, is func(sample) bool) {
	t.Helper()
	from := l.now()
	l.waitFor(t, during.String()+" to pass", 2*during, func(s sample) bool { return s.at > from+during })
	for _, s := range l.since(from) {
		if s.wanted >= 0 && !is(s) {
			t.Errorf("after %s: sample = %+v, want all the time: %s", (s.at - from).Round(time.Second), s, what)
		}
	}
}

// steady checks that the number of workers reversed its direction at most maxReversals times.
func (l *timeline) steady(t *testing.T, from time.Duration, maxReversals int) {
	t.Helper()
	reversals, up, before := 0, true, 0
	var seen []string
	for _, s := range l.since(from) {
		if s.wanted < 0 || s.wanted == before {
			continue
		}
		if rises := s.wanted > before; rises != up {
			reversals, up = reversals+1, rises
		}
		seen = append(seen, strconv.Itoa(s.wanted))
		before = s.wanted
	}
	if reversals > maxReversals {
		t.Errorf("reversals of the number of workers = %d, want at most %d: 0 → %s", reversals, maxReversals, strings.Join(seen, " → "))
	}
}

// condition returns the status of a condition of the ScaledObject, or "" if it has none.
func (e *env) condition(t *testing.T, kind string) string {
	t.Helper()
	var object struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	require.NoError(t, e.cluster.Get(t.Context(), scaled, &object))
	for _, c := range object.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

// limit changes the maximum number of workers by `helm upgrade`.
func (e *env) limit(n int) {
	e.t.Helper()
	chart := filepath.Join(testkit.Root(e.t), "deploy", "helm", "ordersaga")
	e.helm("upgrade", release, chart, "--reuse-values", "--set", fmt.Sprint("autoscaling.max=", n))
}

// act takes an operator's action on a saga.
func (e *env) act(t *testing.T, id, action string) {
	t.Helper()
	res, err := httpClient.Post(e.apiURL+"/v1/sagas/"+id+"/"+action, "application/json", strings.NewReader(`{"by":"ann"}`))
	require.NoError(t, err)
	_ = res.Body.Close() // only the status matters
	if res.StatusCode != http.StatusAccepted {
		t.Fatalf("%s %s: status = %s, want 202 Accepted", action, id, res.Status)
	}
}

// heal makes the payment simulator succeed again.
func (e *env) heal(t *testing.T) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.payURL+"/v1/heal", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+providerKey)
	res, err := httpClient.Do(req)
	require.NoError(t, err)
	_ = res.Body.Close() // only the status matters
	if res.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("heal payments: status = %s, want success", res.Status)
	}
}

// pictures writes the pictures into the directory ORDERSAGA_KEDA_PICTURES, by default that of the
// logs.
func (e *env) pictures(l *timeline) {
	dir := os.Getenv("ORDERSAGA_KEDA_PICTURES")
	if dir == "" {
		dir = e.logs
	}
	if err := l.write(dir); err != nil {
		e.t.Errorf("write pictures: %v", err)
	}
}
