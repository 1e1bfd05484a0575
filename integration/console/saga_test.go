package console

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestOperatorManagesSagasAsWorkflows suspends, finds, follows, terminates and
// purges sagas in the console, by mouse and keyboard, on both engines.
func TestOperatorManagesSagasAsWorkflows(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		newOperator(t, func() testkit.System { return testkit.NewSystem(t, nil, nil) }).manages("")
	})
	t.Run("dapr", func(t *testing.T) {
		o := newOperator(t, func() testkit.System { return testkit.NewDaprSystem(t, zerolog.Nop(), nil) })
		o.manages("dapr-")
		o.open("/console/sagas/held")
		o.sees("dapr workflow history --app-id ordersaga held", "dapr workflow resume --app-id ordersaga held")
		o.picture("dapr-held")
	})
}

// manages runs the scenario. The screenshots' names begin with engine.
func (o operator) manages(engine string) {
	o.place("refused", "tok_ok", "REFUSE", 100)
	o.until("refused", order.StatusFailed)
	for _, id := range []string{"held", "followed", "lost"} {
		o.place(id, "tok_ok", "Ann", 100_000)
		o.until(id, order.StatusAwaitingApproval)
	}

	o.open("/console/sagas/held")
	o.write("by", "ann")
	o.press("Suspend")
	o.sees("suspend: done", "SUSPENDED", "suspended")
	o.picture(engine + "suspended")
	o.open("/console/sagas")
	o.do(chromedp.Click(`//summary[contains(., "Engine")]`), chromedp.Click(`//label[normalize-space()="SUSPENDED"]`))
	o.screenshots(engine + "sagas-menu")
	o.press("Show")
	o.sees("held", "AWAITING_APPROVAL SUSPENDED")
	if others := get(o, chromedp.Evaluate[int](`document.querySelectorAll("tbody tr").length`)); others != 1 {
		o.Errorf("the list has %d sagas, want the suspended one", others)
	}
	o.picture(engine + "sagas-suspended")

	// Open details and the focus stay while the saga continues and its buttons
	// change.
	o.open("/console/sagas/followed")
	o.sees("Input", `"orderId": "followed"`, "TaskScheduled → TaskCompleted", "ordersaga saga approve --api "+o.API+" followed")
	get(o, chromedp.Evaluate[bool](`(document.querySelectorAll("details.event summary")[1].focus(), true)`))
	o.do(chromedp.KeyEvent("\r"))
	const opened = `[
		[...document.querySelectorAll("details.event")].findIndex(d => d.open),
		document.querySelectorAll("details.event[open]").length,
		[...document.querySelectorAll("summary")].indexOf(document.activeElement),
	].join(" ")`
	before := get(o, chromedp.Evaluate[string](opened))
	if before != "1 1 1" {
		o.Errorf("open details, their number and the focus are %s, want 1 1 1", before)
	}
	res, err := http.Post(o.API+"/v1/sagas/followed/approve", "application/json", strings.NewReader("{}"))
	if err != nil || res.StatusCode != http.StatusAccepted {
		o.Fatalf("approve: response %v, error %v, want status %d", res, err, http.StatusAccepted)
	}
	_ = res.Body.Close()
	o.sees("COMPLETED", "Purge history", "ExecutionCompleted")
	if after := get(o, chromedp.Evaluate[string](opened)); after != before {
		o.Errorf("open details, their number and the focus are %s after the update, want %s", after, before)
	}

	// Copying, as far as the browser allows it.
	o.do(chromedp.Click(`#payloads [data-copy]`))
	o.sees("Copied")
	copied := get(o, chromedp.Evaluate[string](`getSelection().toString()`))
	if copied != get(o, chromedp.Evaluate[string](`document.querySelector("#payloads pre").innerText`)) {
		o.Errorf("%q is selected, want the first pane", copied)
	}
	o.picture(engine + "followed")

	o.open("/console/sagas/refused")
	o.sees("RefundPayment")
	o.do(chromedp.Click(`//details[contains(., "ShipOrder") or contains(., "RequestShipment")]/summary`))
	o.picture(engine + "events")

	o.open("/console/sagas/lost")
	o.write("note", "cause unknown")
	o.press("Terminate")
	o.sees("terminate: done", "Its saga was TERMINATED.", "terminated", "did not fire")
	drawn := `document.querySelector("svg.timeline").outerHTML`
	first := get(o, chromedp.Evaluate[string](drawn))
	o.open("/console/sagas/lost")
	o.sees("Its saga was TERMINATED.")
	if second := get(o, chromedp.Evaluate[string](drawn)); second != first {
		o.Errorf("the timeline of an ended saga, loaded again = %s\nwant what it was before: %s", second, first)
	}
	o.picture(engine + "terminated")

	// Ended sagas are purged together; the list shows why one is not.
	o.open("/console/sagas?runtimeStatus=COMPLETED&runtimeStatus=TERMINATED")
	o.sees("followed", "lost", "refused")
	o.do(chromedp.Click(`[data-all=id]`))
	get(o, chromedp.Evaluate[string](`document.querySelector("select[name=action]").value = "purge"`))
	o.press("Apply")
	o.sees("purge: 2 done, 1 rejected: lost: cannot delete the history of order lost: the order is AWAITING_APPROVAL")
	o.picture(engine + "purged")
}
