package api_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/workflows"
)

// TestMetricLabelsAreClosedSets: whatever a client invents, signed in or not, no metric of the
// whole program gets a label outside these sets.
func TestMetricLabelsAreClosedSets(t *testing.T) {
	c := start(t)
	c.place(newOrder("o", nil), "COMPLETED")
	c.place(newOrder("w", expensive), "AWAITING_APPROVAL")
	for i := range 50 {
		id := fmt.Sprintf("invented-%d", i)
		for _, r := range []string{
			"INVENTED%d /v1/sagas", "invented%d /", "GET /invented-%d", "POST /v1/invented-%d", "GET /v1/sagas/invented-%d", "PURGE%d /metrics",
			"POST /v1/sagas/w/invented-%d", "GET /v1/dead-letters/invented-%d", "POST /v1/dead-letters/invented-%d/redrive",
			"GET /v1/stock/invented-%d",
			"DELETE /v1/dead-letters/OrderProcessingQueue/invented-%d/x", "GET /console/invented-%d",
			"POST /console/dead-letters/invented-%d/redrive", "GET /v1/sagas?status=invented-%d",
		} {
			method, path, _ := strings.Cut(strings.Replace(r, "%d", strconv.Itoa(i), 1), " ")
			if a := c.do(method, path, ""); a.status < 400 {
				t.Errorf("%s %s: status = %d, want at least 400", method, path, a.status)
			}
		}
		c.post("/v1/orders", newOrder(id, func(o *order.Order) { o.Currency = id }))
		c.post("/v1/orders", newOrder(id, func(o *order.Order) { o.CustomerID, o.Payment.Token = id, id }))
	}

	statuses := []string{"other"}
	for _, s := range order.Statuses() {
		statuses = append(statuses, string(s))
	}
	var steps []string
	for _, s := range []string{
		"reserve", workflows.StepApprove, workflows.StepCharge, workflows.StepShip,
		workflows.StepCarrier, workflows.StepConfirm,
	} {
		steps = append(steps, s, "undo "+s, "settle "+s, "needs attention: "+s)
	}
	routes := []string{"none", "/metrics", "/docs", "/openapi.json", "/openapi.yaml", "/openapi-3.0.json", "/openapi-3.0.yaml"}
	var doc openAPI
	c.get("/openapi.json").json(t, &doc)
	for path := range doc.Paths {
		routes = append(routes, path)
	}
	queues := []string{events.QueueOrderProcessing, events.QueueCarrierRequests, events.QueueCarrierAnswers, "orders", "carrier"}
	of := map[string][]string{ // a metric's own before those of a name
		"ordersaga_activity_seconds outcome":      {"done", "stopped", "failed"},
		"ordersaga_intake_messages_total outcome": {"done", "poison", "retry"},
		"ordersaga_aws_calls_total outcome":       {"done", "refused", "throttled", "failed"},
		"status":                                  statuses, "step": append(steps, "", "other"), "route": routes, "queue": queues,
		"method":    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"},
		"state":     {"visible", "in_flight", "dead"},
		"part":      {"journal", "archive"},
		"invariant": {"counters_not_negative", "published_is_applied", "in_flight_is_decoded", "log_in_order"},
		"activity": {
			workflows.ReserveStock, workflows.ReleaseStock, workflows.ChargePayment, workflows.RefundPayment,
			workflows.RequestShipment, workflows.ConfirmShipment, workflows.SettleApproval, workflows.VerifyRefusal, workflows.ParkSaga,
			workflows.CompleteByHand,
		},
		"service":  {"DynamoDB", "SQS", "SNS", "STS"},
		"quantile": {"0", "0.25", "0.5", "0.75", "1"},
	}
	operation := regexp.MustCompile(
		`^(Batch|Transact)?(Get|Put|Update|Delete|Query|Scan|Write|Receive|Send|Change|Publish|List|Describe|Create|Subscribe|Tag|Set)\w*$`,
	)
	status := regexp.MustCompile(`^[1-5][0-9][0-9]$`)
	families, err := c.Parts.Registry.Gather()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	seen := map[string]bool{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				name, value := l.GetName(), l.GetValue()
				seen[name] = true
				known, own := of[f.GetName()+" "+name]
				if !own {
					known = of[name]
				}
				switch {
				case name == "operation":
					if !operation.MatchString(value) || strings.Contains(value, "nvented") {
						t.Errorf("%s has %s=%q, want only the name of an operation, as in %s", f.GetName(), name, value, operation)
					}
				case f.GetName()+" "+name == "ordersaga_http_request_seconds status":
					if !status.MatchString(value) {
						t.Errorf("%s has %s=%q, want only an HTTP status, as in %s", f.GetName(), name, value, status)
					}
				case f.GetName() == "go_info" && name == "version":
				case !slices.Contains(known, value):
					t.Errorf("%s has %s=%q, want only values of its closed set %q", f.GetName(), name, value, known)
				}
			}
		}
	}
	for _, name := range []string{"method", "route", "status", "queue", "state", "activity", "outcome", "service", "operation"} {
		if !seen[name] {
			t.Errorf("no metric has a label %s, want at least one", name)
		}
	}
	if a := c.get("/metrics"); a.status != http.StatusOK || strings.Contains(strings.ToLower(a.body), "invented") {
		t.Errorf("/metrics: status = %d, %d bytes, want status %d and no value that a client invented", a.status, len(a.body), http.StatusOK)
	}
}

// TestUnknownStepsShareOneLabel: a saga's custom status can be any text.
func TestUnknownStepsShareOneLabel(t *testing.T) {
	b := newBench(t)
	b.put(order.StatusNeedsAttention)
	b.step = "invented-1"
	if a := b.get("/metrics"); strings.Contains(a.body, "invented") || !strings.Contains(a.body,
		`ordersaga_sagas_stuck{status="NEEDS_ATTENTION",step="other"} 1`+"\n") {
		t.Errorf(`metrics = %s, want 1 stuck saga with step="other" and nothing invented`, a.body)
	}
	b.step = workflows.StepShip
	if a := b.get("/metrics"); !strings.Contains(a.body, `step="needs attention: ship"} 1`+"\n") {
		t.Errorf(`metrics = %s, want 1 stuck saga with step="needs attention: ship"`, a.body)
	}
}
