package worker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestMetricsAreCountedAndDocumented: a worker counts successes and failures, every metric is documented, and
// the dashboard and the alerts use no metric that does not exist.
func TestMetricsAreCountedAndDocumented(t *testing.T) {
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, map[string]int64{"A": 1000})
	for n, token := range []string{"tok_ok", "tok_declined", "tok_flaky_1"} {
		body := fmt.Sprintf(`{"orderId":"o%d","customerId":"c","currency":"EUR",`+
			`"lines":[{"sku":"A","quantity":1,"unitPrice":1}],"payment":{"token":%q}}`, n, token)
		res, err := http.Post(s.API+"/v1/orders", "application/json", strings.NewReader(body))
		if err != nil || res.StatusCode != http.StatusAccepted {
			t.Fatalf("place order: %v (%v), want 202", res, err)
		}
		_ = res.Body.Close()
	}
	metrics := ""
	for _, want := range []string{
		`ordersaga_sagas_ended_total{status="COMPLETED"} 2`,
		`ordersaga_sagas_ended_total{status="DECLINED"} 1`,
		`ordersaga_activity_seconds_count{activity="ChargePayment",outcome="done"} 2`,
		`ordersaga_activity_seconds_count{activity="ChargePayment",outcome="failed"} 1`,
		`ordersaga_activity_seconds_count{activity="ChargePayment",outcome="stopped"} 1`,
		`ordersaga_activity_seconds_count{activity="ReleaseStock",outcome="done"} 1`,
		`ordersaga_intake_lag_seconds{queue="orders"}`,
		`ordersaga_aws_calls_total{operation="TransactWriteItems",outcome="done",service="DynamoDB"}`,
		`ordersaga_queue_messages{queue="OrderProcessingQueue",state="visible"} 0`,
		`ordersaga_sagas_live`,
	} {
		testkit.Eventually(t, want, func() error {
			res, err := http.Get(s.API + "/metrics")
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			b, err := io.ReadAll(res.Body)
			metrics = string(b)
			if err == nil && !strings.Contains(metrics, want) {
				err = errors.New("not among the metrics")
			}
			return err
		})
	}
	if rec, err := s.Store.Get(t.Context(), "o1"); err != nil || rec.Status != order.StatusDeclined {
		t.Errorf("o1 = %+v (%v), want DECLINED", rec, err)
	}

	docs, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	exported := map[string]bool{"ordersaga_sagas_stuck": true} // absent while none is
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(metrics, -1) {
		if strings.HasPrefix(m[1], "ordersaga_") && !strings.Contains(string(docs), "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not list metric %s, want every metric of the worker", m[1])
		}
		for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
			exported[m[1]+suffix] = true
		}
	}
	used := 0
	for what, expr := range queries(t) {
		names := regexp.MustCompile(`\b(?:ordersaga|go|process)_\w+`).FindAllString(expr, -1)
		used += len(names)
		for _, name := range names {
			if !exported[name] {
				t.Errorf("%s uses metric %s, want one that a worker exports", what, name)
			}
		}
		if len(names) == 0 || strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
			t.Errorf("expression of %s is %s, want a metric and balanced brackets", what, expr)
		}
	}
	if used < 20 {
		t.Errorf("dashboard and alerts use %d metrics, want at least 20", used)
	}
}

// queries returns the expressions of the dashboard and the alerts, by their names.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, RefID string }
		}
	}
	read := func(name string, decode func([]byte, any) error, v any) {
		t.Helper()
		b, err := os.ReadFile("../../deploy/grafana/" + name)
		if err == nil {
			err = decode(b, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read("ordersaga.json", json.Unmarshal, &dashboard)
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			all[p.Title+" "+q.RefID] = q.Expr
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	read("alerts.yaml", yaml.Unmarshal, &rules)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all[r.Alert] = r.Expr
		}
	}
	return all
}
