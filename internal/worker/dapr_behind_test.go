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
	"github.com/ordersaga/ordersaga/workflows"
)

// behind is a system on real Dapr of which others treat the workflows as they
// like: with another client, or in the state store.
type behind struct {
	*testing.T
	testkit.System

	redis string // its port
	sagas *dapr.Engine
	later reconcile.Reconciler // lives ten minutes later
}

func newBehind(t *testing.T) behind {
	t.Helper()
	redis := testkit.Redis(t)
	_, port, err := net.SplitHostPort(redis.Address)
	must(t, err)
	s := testkit.NewDaprSystem(t, zerolog.Nop(), func(d *devenv.Dev) {
		d.State, d.Workers = daprlocal.State{Store: "redis", Address: redis.Address}, 2
	})
	r := s.Worker.Reconciler()
	r.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
	return behind{t, s, port, r.Sagas.(*dapr.Engine), r}
}

// placed are orders whose sagas have come to a step.
func (b behind) placed(to, step string, ids ...string) {
	b.Helper()
	price := map[bool]int64{true: 5_000_000, false: 100}[step == workflows.StepApprove]
	for _, id := range ids {
		b.place(to, "tok_ok", price, id)
	}
	for _, id := range ids {
		b.at(id, step)
	}
}

func (b behind) place(to, token string, price int64, id string) {
	b.Helper()
	must(b.T, intake.Publisher{Topic: snspublisher.New(b.Clients.SNS, b.Resources.OrderTopic)}.PublishOrder(b.Context(), order.Order{
		OrderID: id, CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: token}, ShipTo: &order.Address{Name: to},
		Lines: []order.Line{{SKU: "SKU-1", Quantity: 1, UnitPrice: price}},
	}))
}

func (b behind) at(id, step string) {
	b.Helper()
	testkit.Eventually(b, id+" is at "+step, func() error {
		if i, err := b.sagas.Get(b.Context(), id); err != nil || i.Status != engine.Running || i.CustomStatus != step {
			return fmt.Errorf("%s at %q %w", i.Status, i.CustomStatus, err)
		}
		return nil
	})
}

func (b behind) terminated(id string) {
	b.Helper()
	must(b.T, b.sagas.Hub.TerminateWorkflow(b.Context(), api.InstanceID(id), api.WithOutput("enough")))
	i, err := b.sagas.Wait(b.Context(), id)
	if err != nil || i.Status != engine.Terminated {
		b.Fatalf("%s is %s (%v)", id, i.Status, err)
	}
}

// deleted takes a saga's state out of the store, as a dashboard's "force delete"
// does: the sidecar that has it in memory hears nothing of that.
func (b behind) deleted(id string) {
	b.Helper()
	keys := strings.Fields(b.cli("KEYS", "ordersaga||dapr.internal.default.ordersaga.workflow||"+id+"||*"))
	if len(keys) < 3 {
		b.Fatalf("%s has the keys %q", id, keys)
	}
	b.cli(append([]string{"DEL"}, keys...)...)
	if i, err := b.sagas.Get(b.Context(), id); !errors.Is(err, engine.ErrNotFound) {
		b.Fatalf("%+v %v", i, err)
	}
}

func (b behind) cli(args ...string) string {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), "redis-cli", append([]string{"-p", b.redis}, args...)...).CombinedOutput()
	if err != nil {
		b.Fatalf("redis-cli: %v %s", err, out)
	}
	return string(out)
}

// woken has the sidecar go on with a saga that only its memory has. On Redis it
// writes what is new of it, beside nothing.
func (b behind) woken(id string) {
	b.Helper()
	must(b.T, b.sagas.Hub.RaiseEvent(b.Context(), api.InstanceID(id), "noise"))
	testkit.Eventually(b, id+" has left something", func() error {
		if keys := b.cli("KEYS", "ordersaga||dapr.internal.default.ordersaga.workflow||"+id+"||*"); !strings.Contains(keys, "history-") {
			return fmt.Errorf("only %q", keys)
		}
		return nil
	})
}

func (b behind) is(id string, want order.Status) (rec orderstore.Record) {
	b.Helper()
	testkit.Eventually(b, id+" is "+string(want), func() (err error) {
		if rec, err = b.Store.Get(b.Context(), id); err != nil || rec.Status != want {
			return fmt.Errorf("%s (%s) %w", rec.Status, rec.Reason, err)
		}
		return nil
	})
	return rec
}

func (b behind) act(id, action string) {
	b.Helper()
	res, err := http.Post(b.API+"/v1/sagas/"+id+"/"+action, "application/json", nil)
	must(b.T, err)
	body, err := io.ReadAll(res.Body)
	must(b.T, errors.Join(err, res.Body.Close()))
	if res.StatusCode != http.StatusAccepted {
		b.Errorf("%s %s: %d %s", action, id, res.StatusCode, body)
	}
}

// found are the actions of a run of the reconciler, by order.
func (b behind) found() map[string]string {
	b.Helper()
	rep, err := b.later.Once(b.Context())
	must(b.T, err)
	actions := map[string]string{}
	for _, f := range rep.Findings {
		actions[f.OrderID] = f.Action
		if f.Error != "" {
			b.Errorf("%+v", f)
		}
	}
	return actions
}

// TestBehindOurBack: an order whose saga somebody has terminated is undone,
// whether that was purged or not; one whose saga is merely gone goes on.
func TestBehindOurBack(t *testing.T) {
	b := newBehind(t)
	b.placed("", workflows.StepApprove, "approved", "cancelled", "left", "woken", "woken-left", "forced", "terminated", "purged", "suspended")
	b.placed("SILENT", workflows.StepCarrier, "sent")
	b.place("", "tok_flaky_8", 100, "at-work") // deleted between two tries of the charge
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
			t.Errorf("%s is %s; its saga %s and says %q (%v)", id, rec.Status, i.Status, i.CustomStatus, err)
		}
	}

	b.deleted("left")
	b.deleted("woken-left")
	b.woken("woken-left")
	must(t, b.sagas.Hub.PurgeWorkflowState(t.Context(), "forced", api.WithForcePurge(true)))
	must(t, b.sagas.Suspend(t.Context(), "suspended", "a moment"))
	for _, id := range []string{"terminated", "purged", "suspended", "sent"} {
		b.terminated(id)
	}
	for _, id := range []string{"purged", "suspended", "sent"} {
		must(t, b.sagas.Purge(t.Context(), id))
	}
	got := b.found()
	for id, want := range map[string]string{"at-work": "saga started again", "left": "saga started again", "woken-left": "saga started again", "forced": "saga started again", "terminated": "undone", "purged": "undone", "suspended": "undone", "sent": "parked"} {
		if got[id] != want {
			t.Errorf("%s: %q, want %q", id, got[id], want)
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
			t.Errorf("%s: %s", id, rec.Reason)
		}
	}
	if rec := b.is("sent", order.StatusNeedsAttention); !strings.HasSuffix(rec.Reason, why) {
		t.Errorf("sent: %s", rec.Reason)
	}
	b.act("sent", "retry")
	b.at("sent", workflows.StepCarrier)
	if rec := b.is("sent", order.StatusPaid); rec.Terminated != "" {
		t.Errorf("sent goes on, and still: %s", rec.Terminated)
	}
}
