package worker_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dapr/durabletask-go/api"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/dapr"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/workflows"
)

// externalChanges is a system on real Dapr whose workflows are changed from outside:
// with another client, or in the state store.
type externalChanges struct {
	*testing.T
	testkit.System

	redis string // the port
	sagas *dapr.Engine
	later reconcile.Reconciler // its clock is ten minutes ahead
}

func newExternalChanges(t *testing.T) externalChanges {
	t.Helper()
	redis := testkit.Redis(t)
	_, port, err := net.SplitHostPort(redis.Address)
	require.NoError(t, err)
	s := testkit.NewDaprSystem(t, zerolog.Nop(), func(d *devenv.Dev) {
		d.State, d.Workers = daprlocal.State{Store: "redis", Address: redis.Address}, 2
	})
	r := s.Worker.Reconciler()
	r.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
	return externalChanges{T: t, System: s, redis: port, sagas: r.Sagas.(*dapr.Engine), later: r}
}

// placed places orders and waits until their sagas have reached a step.
func (b externalChanges) placed(to, step string, ids ...string) {
	b.Helper()
	price := int64(100)
	if step == workflows.StepApprove {
		price = 5_000_000
	}
	for _, id := range ids {
		b.place(to, "tok_ok", price, id)
	}
	for _, id := range ids {
		b.at(id, step)
	}
}

func (b externalChanges) place(to, token string, price int64, id string) {
	b.Helper()
	publisher := intake.Publisher{Topic: snspublisher.New(b.Clients.SNS, b.Resources.OrderTopic)}
	require.NoError(b, publisher.PublishOrder(b.Context(), order.Order{
		OrderID: id, CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: token}, ShipTo: &order.Address{Name: to},
		Lines: []order.Line{{SKU: "SKU-1", Quantity: 1, UnitPrice: price}},
	}))
}

func (b externalChanges) at(id, step string) {
	b.Helper()
	testkit.Eventually(b, id+" is at "+step, func() error {
		if i, err := b.sagas.Get(b.Context(), id); err != nil || i.Status != engine.Running || i.CustomStatus != step {
			return fmt.Errorf("%s at %q %w", i.Status, i.CustomStatus, err)
		}
		return nil
	})
}

func (b externalChanges) terminated(id string) {
	b.Helper()
	require.NoError(b, b.sagas.Hub.TerminateWorkflow(b.Context(), api.InstanceID(id), api.WithOutput("enough")))
	i, err := b.sagas.Wait(b.Context(), id)
	if err != nil || i.Status != engine.Terminated {
		b.Fatalf("saga %s: status = %s (%v), want %s", id, i.Status, err, engine.Terminated)
	}
}

// deleted removes a saga's state from the store, as a dashboard's "force delete" does.
// The sidecar that has the saga in memory is not notified.
func (b externalChanges) deleted(id string) {
	b.Helper()
	keys := strings.Fields(b.cli("KEYS", "ordersaga||dapr.internal.default.ordersaga.workflow||"+id+"||*"))
	if len(keys) < 3 {
		b.Fatalf("saga %s has keys %q, want at least 3", id, keys)
	}
	b.cli(append([]string{"DEL"}, keys...)...)
	if i, err := b.sagas.Get(b.Context(), id); !errors.Is(err, engine.ErrNotFound) {
		b.Fatalf("saga %s after the deletion = %+v (%v), want %v", id, i, err, engine.ErrNotFound)
	}
}

func (b externalChanges) cli(args ...string) string {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), "redis-cli", append([]string{"-p", b.redis}, args...)...).CombinedOutput()
	if err != nil {
		b.Fatalf("redis-cli: %v %s", err, out)
	}
	return string(out)
}

// woken makes the sidecar continue a saga that is only in its memory. On Redis it
// writes only the new part.
func (b externalChanges) woken(id string) {
	b.Helper()
	require.NoError(b, b.sagas.Hub.RaiseEvent(b.Context(), api.InstanceID(id), "noise"))
	testkit.Eventually(b, id+" has written history", func() error {
		if keys := b.cli("KEYS", "ordersaga||dapr.internal.default.ordersaga.workflow||"+id+"||*"); !strings.Contains(keys, "history-") {
			return fmt.Errorf("only %q", keys)
		}
		return nil
	})
}

func (b externalChanges) is(id string, want order.Status) (rec orderstore.Record) {
	b.Helper()
	testkit.Eventually(b, id+" is "+string(want), func() (err error) {
		rec, err = b.Store.Get(b.Context(), id)
		if err != nil || rec.Status != want {
			return fmt.Errorf("%s (%s) %w", rec.Status, rec.Reason, err)
		}
		return nil
	})
	return rec
}

func (b externalChanges) act(id, action string) {
	b.Helper()
	res, err := http.Post(b.API+"/v1/sagas/"+id+"/"+action, "application/json", nil)
	require.NoError(b, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(b, errors.Join(err, res.Body.Close()))
	if res.StatusCode != http.StatusAccepted {
		b.Errorf("%s %s: status = %d, want 202; body: %s", action, id, res.StatusCode, body)
	}
}

// found returns the actions of a run of the reconciler, by order.
func (b externalChanges) found() map[string]string {
	b.Helper()
	rep, err := b.later.Once(b.Context())
	require.NoError(b, err)
	actions := map[string]string{}
	for _, f := range rep.Findings {
		actions[f.OrderID] = f.Action
		if f.Error != "" {
			b.Errorf("finding = %+v, want no error", f)
		}
	}
	return actions
}

// TestExternalChangesAreRepaired: an order whose saga was terminated by another client is
// compensated, whether it was purged or not; one whose saga is missing is restarted.
func TestExternalChangesAreRepaired(t *testing.T) {
	b := newExternalChanges(t)
	b.placed("", workflows.StepApprove,
		"approved", "cancelled", "left", "woken", "woken-left", "forced", "terminated", "purged", "suspended")
	b.placed("SILENT", workflows.StepCarrier, "sent")
	b.place("", "tok_flaky_8", 100, "at-work") // deleted between two attempts of the charge
	b.at("at-work", workflows.StepCharge)
	b.deleted("at-work")

	for id, action := range map[string]string{"approved": "approve", "cancelled": "cancel", "woken": "approve"} {
		b.deleted(id)
		if id == "woken" {
			b.woken(id)
		}
		b.act(id, action)
	}
	for id, want := range map[string]string{"approved": "COMPLETED", "woken": "COMPLETED", "cancelled": "CANCELLED: cancelled"} {
		rec := b.is(id, order.Status(want[:9]))
		if i, err := b.sagas.Wait(t.Context(), id); err != nil || i.Status != engine.Completed || i.CustomStatus != want {
			t.Errorf("%s is %s; its saga = %s with custom status %q (%v), want %s with %q",
				id, rec.Status, i.Status, i.CustomStatus, err, engine.Completed, want)
		}
	}

	b.deleted("left")
	b.deleted("woken-left")
	b.woken("woken-left")
	require.NoError(t, b.sagas.Hub.PurgeWorkflowState(t.Context(), "forced", api.WithForcePurge(true)))
	require.NoError(t, b.sagas.Suspend(t.Context(), "suspended", "a moment"))
	for _, id := range []string{"terminated", "purged", "suspended", "sent"} {
		b.terminated(id)
	}
	for _, id := range []string{"purged", "suspended", "sent"} {
		require.NoError(t, b.sagas.Purge(t.Context(), id))
	}
	got := b.found()
	for id, want := range map[string]string{
		"at-work": "saga started again", "left": "saga started again", "woken-left": "saga started again", "forced": "saga started again",
		"terminated": "undone", "purged": "undone", "suspended": "undone", "sent": "parked",
	} {
		if got[id] != want {
			t.Errorf("%s: reconciler's action = %q, want %q", id, got[id], want)
		}
	}
	for _, id := range []string{"left", "woken-left", "forced"} {
		b.at(id, workflows.StepApprove)
		b.act(id, "approve")
		b.is(id, order.StatusCompleted)
	}
	b.is("at-work", order.StatusCompleted)
	const why = "its saga has ended TERMINATED (enough)"
	for _, id := range []string{"terminated", "purged", "suspended"} {
		if rec := b.is(id, order.StatusFailed); !strings.HasPrefix(rec.Reason, why) {
			t.Errorf("%s: reason = %q, want it to begin with %q", id, rec.Reason, why)
		}
	}
	if rec := b.is("sent", order.StatusNeedsAttention); !strings.HasSuffix(rec.Reason, why) {
		t.Errorf("sent: reason = %q, want it to end with %q", rec.Reason, why)
	}
	b.act("sent", "retry")
	b.at("sent", workflows.StepCarrier)
	if rec := b.is("sent", order.StatusPaid); rec.Terminated != "" {
		t.Errorf("sent has been resumed, and Terminated = %q, want none", rec.Terminated)
	}
}
