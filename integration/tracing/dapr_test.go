package tracing

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// dev runs a system on Dapr until the end of the test. It returns the API's URL and the log.
func dev(t *testing.T) (url string, log *logged) {
	t.Helper()
	log = &logged{}
	return testkit.NewDaprSystem(t, zerolog.New(log).Level(zerolog.DebugLevel), nil).API, log
}

// logged collects a log. It is safe for concurrent use.
type logged struct {
	mu sync.Mutex
	b  []byte
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	return len(p), nil
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

// onDapr is trace without the spans of the sidecar's calls to its workers, because it repeats
// some of them.
func onDapr(t *testing.T, id, want string) []testkit.Span {
	t.Helper()
	app := regexp.MustCompile(`payment-[0-9a-f]{8}`)
	return traceOf(t, id, want, func(spans []testkit.Span) []testkit.Span {
		spans = slices.DeleteFunc(spans, func(s testkit.Span) bool { return strings.HasPrefix(s.Name, "/TaskHubSidecarService/") })
		for i := range spans {
			spans[i].Name = app.ReplaceAllString(spans[i].Name, "payment")
		}
		return spans
	})
}

// TestOneOrderIsOneTraceOnDapr includes the spans that the sidecars export. The sidecar passes on
// a 503 of the provider: the saga retries it, not the sidecar.
func TestOneOrderIsOneTraceOnDapr(t *testing.T) {
	api, log := dev(t)
	const unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00"
	change := func(o *order.Order) { o.Lines[0].SKU = "SKU-1" }
	placeIn(t, api, unsampled, "unsampled-on-dapr", "tok_ok", change)
	ended(t, api, "unsampled-on-dapr", order.StatusCompleted)
	place(t, api, "on-dapr", "tok_flaky_1", change)
	got := ended(t, api, "on-dapr", order.StatusCompleted)
	services := map[string]bool{}
	spans := onDapr(t, "on-dapr", `
POST /v1/orders
  send OrderEvents
    process OrderEvents
      create_orchestration||OrderSaga
        orchestration||OrderSaga
          activity||ReserveStock||saga=msxibl;reserve=hgcttb;approve=lnebhq;charge=lcuyi1;ship=19rv88h;carrier=d1pfso;confirm=10qysy9
            ReserveStock 1 done
          activity||ChargePayment
            ChargePayment 1 failed ERROR
              POST /v1.0/invoke/payment/method/v1/charges ERROR
                CallLocal/payment/v1/charges ERROR
                  CallLocal/payment/v1/charges
                    POST /v1/charges ERROR
          timer
          activity||ChargePayment
            ChargePayment 2 done
              POST /v1.0/invoke/payment/method/v1/charges
                CallLocal/payment/v1/charges
                  CallLocal/payment/v1/charges
                    POST /v1/charges
          activity||RequestShipment
            RequestShipment 1 done
              send ShipmentEvents
                /dapr.proto.runtime.v1.Dapr/PublishEvent
                  pubsub/ShipmentEvents
                    POST /v1/shipment-events
                      process ShipmentEvents
                        send CarrierAnswers
                          process CarrierAnswers
          activity||ConfirmShipment
            ConfirmShipment 1 done
              send CustomerNotifications
                /dapr.proto.runtime.v1.Dapr/PublishEvent
`)
	for _, s := range spans {
		services[s.Service] = true
		if s.Trace != got.TraceID {
			t.Errorf("%+v, want it in trace %s", s, got.TraceID)
		}
	}
	if !services["ordersaga"] || !services["carrier"] || !services["ordersaga-test"] { // two sidecars, and we
		t.Errorf("services = %v, want ordersaga, carrier and ordersaga-test", services)
	}
	for _, s := range collector.Spans() {
		if s.Attributes["order.id"] == "unsampled-on-dapr" {
			t.Errorf("span of an order that is not sampled: %+v, want none", s)
		}
	}
	withoutSecrets(t, spans)
	withoutSecrets(t, log.String())
}

// TestTraceThroughSidecarsThatExportNone: they pass it on.
func TestTraceThroughSidecarsThatExportNone(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "") // we export already
	api, _ := dev(t)
	place(t, api, "through-dapr", "tok_flaky_1", func(o *order.Order) { o.Lines[0].SKU = "SKU-1" })
	ended(t, api, "through-dapr", order.StatusCompleted)
	onDapr(t, "through-dapr", `
POST /v1/orders
  send OrderEvents
    process OrderEvents
      ReserveStock 1 done
      ChargePayment 1 failed ERROR
        POST /v1.0/invoke/payment/method/v1/charges ERROR
          POST /v1/charges ERROR
      ChargePayment 2 done
        POST /v1.0/invoke/payment/method/v1/charges
          POST /v1/charges
      RequestShipment 1 done
        send ShipmentEvents
          POST /v1/shipment-events
            process ShipmentEvents
              send CarrierAnswers
                process CarrierAnswers
      ConfirmShipment 1 done
        send CustomerNotifications
`)
}
