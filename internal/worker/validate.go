package worker

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/reconcile"
)

// Validate returns an error that lists all invalid settings in one line, or nil.
func (w *Worker) Validate() error {
	var faults []string
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	positive := func(what string, d time.Duration) { check(d > 0, "%s must be positive, is %s", what, d) }
	notNegative := func(what string, d time.Duration) { check(d >= 0, "%s must not be negative, is %s", what, d) }

	if err := w.AWS.Validate(); err != nil {
		check(false, "%v", err)
	}
	check(isTableName(w.TablePrefix), "table prefix %q must be of A-Z a-z 0-9 . _ -", w.TablePrefix)
	u, err := url.Parse(w.PaymentURL)
	check(err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https"),
		"payment URL %q must be an http or https URL, such as http://127.0.0.1:8090", w.PaymentURL)
	check(err != nil || u.RawQuery == "" && u.Fragment == "",
		"payment URL %q must have no query and no fragment: calls have their own", w.PaymentURL)
	if err := w.Installation.Validate(); err != nil {
		check(false, "%v", err)
	}
	positive("payment timeout", w.PaymentTimeout)
	t := w.Terms
	check(t.ApprovalAbove >= 0, "approval limit must not be negative, is %d", t.ApprovalAbove)
	notNegative("approval timeout", t.ApprovalTimeout)
	if t.ApprovalAbove > 0 || t.ApprovalLimits.Any() {
		check(t.ApprovalTimeout != 0, "approval timeout must be positive if orders wait for approval")
	}
	notNegative("carrier timeout", t.CarrierTimeout)
	if t.AwaitCarrier {
		check(t.CarrierTimeout != 0, "carrier timeout must be positive if orders wait for the carrier")
	}
	notNegative("patience", t.CompensationTimeout)
	check(t.TimeScale >= 0 && !math.IsInf(t.TimeScale, 1), "pace must be a number and not negative, is %v", t.TimeScale)
	check(w.RateLimit >= 0, "rate limit must not be negative, is %d", w.RateLimit)
	check(w.MaxLive > 0, "max live sagas must be positive, is %d", w.MaxLive)
	notNegative("reconcile interval", w.ReconcileEvery)
	notNegative("reconcile grace", w.ReconcileGrace)
	// The reconciler treats a step that takes longer than the grace period as lost.
	grace, step := cmp.Or(w.ReconcileGrace, reconcile.DefaultGrace), payment.StepTimeouts*w.PaymentTimeout
	check(w.ReconcileGrace < 0 || grace > step, "reconcile grace must be longer than a step may take: "+
		"it is %s, and the calls of a refund may take %s (%d times the payment timeout of %s)",
		grace, step, payment.StepTimeouts, w.PaymentTimeout)
	positive("shutdown timeout", w.ShutdownTimeout)
	notNegative("retention", w.Retention)
	check(w.EngineListener == nil || w.Dapr == nil, "durable-task clients are served by the sidecar, not by the worker")
	check(!w.NoSagas || w.Dapr != nil, "no sagas: requires Dapr, where other workers run them; the embedded engine is in one process")
	if w.Dapr != nil {
		notNegative("canary interval", w.Dapr.CanaryEvery)
		notNegative("wait for the sidecar", w.Dapr.ConnectTimeout)
	}
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

// isTableName reports whether DynamoDB allows these characters in a name.
func isTableName(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", r)
	})
}
