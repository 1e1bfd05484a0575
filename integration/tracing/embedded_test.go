package tracing

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// TestOneOrderIsOneTrace follows an order from the API through topics, queues and the engine to
// payment and carrier, and back, with each attempt of a payment that fails twice.
func TestOneOrderIsOneTrace(t *testing.T) {
	t.Parallel()
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, map[string]int64{"A": 10})
	place(t, s.API, "flaky", "tok_flaky_2", nil)
	got := ended(t, s.API, "flaky", order.StatusCompleted)
	spans := trace(t, "flaky", `
POST /v1/orders
  send OrderEvents
    process OrderEvents
      create_orchestration||OrderSaga
        orchestration||OrderSaga
          ReserveStock 1 done
          ChargePayment 1 failed ERROR
            POST /v1/charges ERROR
              POST /v1/charges ERROR
          timer
          ChargePayment 2 failed ERROR
            POST /v1/charges ERROR
              POST /v1/charges ERROR
          timer
          ChargePayment 3 done
            POST /v1/charges
              POST /v1/charges
          RequestShipment 1 done
            send ShipmentEvents
              process ShipmentEvents
                send CarrierAnswers
                  process CarrierAnswers
          ConfirmShipment 1 done
            send CustomerNotifications
`)
	for _, s := range spans {
		if s.Trace != got.TraceID || s.Service != "ordersaga-test" {
			t.Errorf("span %+v, want it in trace %s", s, got.TraceID)
		}
		ours := !strings.Contains(s.Name, "/v1/charges") && !strings.Contains(s.Name, "orchestration") && s.Name != "timer"
		if ours && s.Attributes["order.id"] != "flaky" {
			t.Errorf("span %s has the attributes %v, want the order's id", s.Name, s.Attributes)
		}
		if s.Name == "ChargePayment" && s.Error != "" && (s.Attributes["saga.activity"] != s.Name ||
			len(s.Events) != 1 || !strings.Contains(s.Events[0], "provider returned 503")) {
			t.Errorf("span of a failed charge = %+v, want the activity and one event with the provider's error", s)
		}
	}
	withoutSecrets(t, spans)
}

// TestTraceOfCompensations: they are part of it, and so is why they ran.
func TestTraceOfCompensations(t *testing.T) {
	t.Parallel()
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, map[string]int64{"A": 10})
	place(t, s.API, "refused", "tok_ok", func(o *order.Order) { o.ShipTo.Name = "REFUSE" })
	ended(t, s.API, "refused", order.StatusFailed)
	trace(t, "refused", `
POST /v1/orders
  send OrderEvents
    process OrderEvents
      create_orchestration||OrderSaga
        orchestration||OrderSaga
          ReserveStock 1 done
          ChargePayment 1 done
            POST /v1/charges
              POST /v1/charges
          RequestShipment 1 done
            send ShipmentEvents
              process ShipmentEvents
                send CarrierAnswers
                  process CarrierAnswers
          VerifyRefusal 1 stopped
          RefundPayment 1 done
            POST /v1/refunds
              POST /v1/refunds
            GET /v1/charges
              GET /v1/charges
            send CustomerNotifications
          ReleaseStock 1 done
            send CustomerNotifications
`)
	place(t, s.API, "declined", "tok_declined", nil)
	ended(t, s.API, "declined", order.StatusDeclined)
	for _, s := range trace(t, "declined", `
POST /v1/orders
  send OrderEvents
    process OrderEvents
      create_orchestration||OrderSaga
        orchestration||OrderSaga
          ReserveStock 1 done
          ChargePayment 1 stopped
            POST /v1/charges ERROR
              POST /v1/charges
            GET /v1/charges
              GET /v1/charges
          ReleaseStock 1 done
            send CustomerNotifications
`) {
		if s.Name == "ChargePayment" && (len(s.Events) != 1 || !strings.HasPrefix(s.Events[0], "DECLINED: ")) {
			t.Errorf("span of the declined charge = %+v, want one event that begins with DECLINED", s)
		}
	}
}

// TestTraceSurvivesARestart: a worker ends while an order waits for approval,
// and another goes on with its trace. The approval is the operator's trace.
func TestTraceSurvivesARestart(t *testing.T) {
	t.Parallel()
	s := testkit.NewSystem(t, func(w *worker.Worker) { w.DataDir = t.TempDir() }, nil)
	s.SetStock(t, map[string]int64{"A": 10})
	place(t, s.API, "waits", "tok_ok", func(o *order.Order) { o.Lines[0].UnitPrice = 200_000 })
	ended(t, s.API, "waits", order.StatusAwaitingApproval)
	s.StopWorker()

	again := *s.Worker
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	again.Listener = l
	_, err = again.Open(t.Context())
	require.NoError(t, err)
	background(t, again.Run)
	api := "http://" + l.Addr().String()
	call(t, http.MethodPost, api+"/v1/sagas/waits/approve", map[string]string{"by": "ann"}, nil)
	ended(t, api, "waits", order.StatusCompleted)
	trace(t, "waits", `
POST /v1/orders
  send OrderEvents
    process OrderEvents
      create_orchestration||OrderSaga
        orchestration||OrderSaga
          ReserveStock 1 done
          SettleApproval 1 done
          ChargePayment 1 done
            POST /v1/charges
              POST /v1/charges
          RequestShipment 1 done
            send ShipmentEvents
              process ShipmentEvents
                send CarrierAnswers
                  process CarrierAnswers
          ConfirmShipment 1 done
            send CustomerNotifications
POST /v1/sagas/{id}/approve
`)
}

// TestNoSpansOfWhatIsNotSampled: who began the trace has decided, and no part
// of the way begins one of its own.
func TestNoSpansOfWhatIsNotSampled(t *testing.T) {
	t.Parallel()
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, map[string]int64{"A": 10})
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	placeIn(t, s.API, "00-"+id+"-00f067aa0ba902b7-00", "unsampled", "tok_flaky_2", nil)
	if got := ended(t, s.API, "unsampled", order.StatusCompleted); got.TraceID != id {
		t.Errorf("trace of the saga = %s, want that of the request, %s", got.TraceID, id)
	}
	placeIn(t, s.API, "00-"+id+"-00f067aa0ba902b8-01", "sampled", "tok_ok", nil)
	ended(t, s.API, "sampled", order.StatusCompleted)
	testkit.Eventually(t, "the saga's own span, which is the last", func() error {
		return has(collector.OfOrder("sampled"), "orchestration||OrderSaga")
	})
	for _, span := range collector.Spans() {
		if span.Attributes["order.id"] == "unsampled" || span.Parent == "00f067aa0ba902b7" {
			t.Errorf("span %+v was exported, want none of a trace that is not sampled", span)
		}
	}
}
