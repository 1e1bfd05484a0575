// Package tracing tests the spans of orders that an OpenTelemetry collector receives.
package tracing

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/tracing/otlp"
)

// collector receives the spans of all tests, because a process has only one exporter.
var collector *testkit.Collector

func TestMain(m *testing.M) {
	collector = testkit.NewCollector()
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_SERVICE_NAME": "", "OTEL_BSP_SCHEDULE_DELAY": "20",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	stop, err := otlp.Start(context.Background(), "ordersaga-test", zerolog.New(os.Stderr))
	if err != nil {
		panic(err)
	}
	status := m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	err = stop(ctx)
	cancel()
	collector.Close()
	http.DefaultClient.CloseIdleConnections()
	if err == nil && status == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// background runs f until the end of the test.
func background(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
}

// call sends a request to the API and decodes the response into out, which may be nil.
func call(t *testing.T, method, url string, in, out any) {
	t.Helper()
	callIn(t, "", method, url, in, out)
}

// callIn is call with a parent span; "" has none.
func callIn(t *testing.T, parent, method, url string, in, out any) {
	t.Helper()
	var b []byte // nil for a request without a body
	if in != nil {
		var err error
		b, err = json.Marshal(in)
		require.NoError(t, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(b))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	if parent != "" {
		req.Header.Set("Traceparent", parent)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	if res.StatusCode >= 300 {
		t.Fatalf("%s %s returned %s, want success: %s", method, url, res.Status, b)
	}
	if out != nil {
		require.NoError(t, json.Unmarshal(b, out))
	}
}

// place places an order; change may be nil.
func place(t *testing.T, api, id, token string, change func(*order.Order)) {
	t.Helper()
	placeIn(t, api, "", id, token, change)
}

// placeIn is place with a parent span.
func placeIn(t *testing.T, api, parent, id, token string, change func(*order.Order)) {
	t.Helper()
	o := order.Order{
		SpecVersion: 1, OrderID: id, CustomerID: "c-1", Currency: "EUR", Payment: order.Payment{Token: token},
		Lines:  []order.Line{{SKU: "A", Quantity: 1, UnitPrice: 500}},
		ShipTo: &order.Address{Name: "Ada Example", Line1: "1 Loopback Lane", City: "Berlin", PostalCode: "D-10115", Country: "DE"},
	}
	if change != nil {
		change(&o)
	}
	callIn(t, parent, http.MethodPost, api+"/v1/orders", o, nil)
}

type saga struct {
	Status  order.Status
	TraceID string
}

// ended waits until an order has the wanted status.
func ended(t *testing.T, api, id string, want order.Status) (s saga) {
	t.Helper()
	testkit.Eventually(t, "order "+id+" is "+string(want), func() error {
		call(t, http.MethodGet, api+"/v1/sagas/"+id, nil, &s)
		if s.Status != want {
			return fmt.Errorf("its status is %s", s.Status)
		}
		return nil
	})
	return s
}

// detail returns the text after a span's name in a tree.
func detail(s testkit.Span) (text string) {
	if n := s.Attributes["saga.attempt"]; n != "" {
		text = n + " " + s.Attributes["saga.outcome"]
	}
	if s.Error != "" {
		text += " ERROR"
	}
	return strings.TrimSpace(text)
}

// trace waits until the tree of an order's trace equals want.
func trace(t *testing.T, id, want string) []testkit.Span {
	t.Helper()
	return traceOf(t, id, want, func(spans []testkit.Span) []testkit.Span { return spans })
}

// traceOf is trace for the spans that filter returns.
func traceOf(t *testing.T, id, want string, filter func([]testkit.Span) []testkit.Span) (spans []testkit.Span) {
	t.Helper()
	testkit.Eventually(t, "the trace of order "+id, func() error {
		spans = filter(collector.OfOrder(id))
		if got := testkit.Tree(spans, detail); got != want[1:] {
			return fmt.Errorf("trace is\n%swant%s", got, want)
		}
		return nil
	})
	return spans
}

// has returns an error if no span has the name.
func has(spans []testkit.Span, name string) error {
	for _, s := range spans {
		if s.Name == name {
			return nil
		}
	}
	return fmt.Errorf("no span %s", name)
}

// secrets are texts in the orders of the tests and of the demo that are private, and parts of
// credentials. (Five digits of a postal code would also occur in the fractions of a time.)
var secrets = []string{"tok_", "Ada Example", "Loopback Lane", "D-10115", "Bearer", "dev-payment-key"}

// withoutSecrets checks that a value, encoded as JSON, has no secret.
func withoutSecrets(t *testing.T, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	for _, secret := range secrets {
		if at := bytes.Index(b, []byte(secret)); at >= 0 {
			t.Errorf("the secret %s occurs in …%s…, want no secret", secret, b[max(0, at-200):min(len(b), at+50)])
		}
	}
}
