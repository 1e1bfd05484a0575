package tracing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// marks are personal data in the orders of this test. They may occur only in the orders table,
// in the queues, and in requests to the provider and the carrier.
var marks = []string{"tok_", "c-erika", "Erika Markus", "Heidestrasse", "Hinterhaus", "Kölle", "D-50667", "+49221"}

func marked(change func(*order.Order)) func(*order.Order) {
	return func(o *order.Order) {
		o.CustomerID, o.Lines[0].SKU = "c-erika", "SKU-1"
		o.ShipTo = &order.Address{
			Name: "Erika Markus", Line1: "Heidestrasse 17", Line2: "Hinterhaus",
			City: "Kölle", PostalCode: "D-50667", Country: "DE", Phone: "+49221",
		}
		if change != nil {
			change(o)
		}
	}
}

// nowhere runs orders of many kinds, and checks that logs, spans, metrics and histories have no
// marks.
func nowhere(t *testing.T, s testkit.System, prefix string, log *logged) {
	t.Helper()
	send := func(queue, body string) {
		_, err := s.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &body})
		require.NoError(t, err)
	}
	expensive := func(o *order.Order) { o.Lines[0].UnitPrice = 5_000_000 }
	silent := func(o *order.Order) { o.ShipTo.Name = "SILENT" }
	ids := map[string]order.Status{}
	begin := func(id, token string, first, last order.Status, change func(*order.Order)) string {
		id = prefix + id
		place(t, s.API, id, token, marked(change))
		if first != "" {
			ended(t, s.API, id, first)
		}
		ids[id] = last
		return id
	}
	act := func(id, action string, in map[string]string) {
		call(t, http.MethodPost, s.API+"/v1/sagas/"+id+"/"+action, in, nil)
	}
	begin("done", "tok_ok", "", order.StatusCompleted, nil)
	begin("flaky", "tok_flaky_1", "", order.StatusCompleted, nil)
	begin("declined", "tok_declined", "", order.StatusDeclined, nil)
	begin("short", "tok_ok", "", order.StatusRejected, func(o *order.Order) { o.Lines[0].Quantity = 10_000 })
	begin("refused", "tok_ok", "", order.StatusFailed, func(o *order.Order) { o.ShipTo.Name = "REFUSE" })
	begin("stuck", "tok_refund_down", "", order.StatusNeedsAttention, func(o *order.Order) { o.ShipTo.Name = "REFUSE" })
	cancelled := begin("cancelled", "tok_ok", order.StatusAwaitingApproval, order.StatusCancelled, expensive)
	act(cancelled, "cancel", map[string]string{"for": "customer"})
	rejected := begin("rejected", "tok_ok", order.StatusAwaitingApproval, order.StatusCancelled, expensive)
	act(rejected, "reject", map[string]string{})
	quoted := begin("quoted", "tok_ok", order.StatusPaid, order.StatusFailed, silent)
	twice := begin("twice", "tok_ok", order.StatusPaid, order.StatusCompleted, silent)
	for _, id := range []string{quoted, twice} {
		testkit.Eventually(t, "the shipment of "+id+" is requested", func() error {
			rec, err := s.Store.Get(t.Context(), id)
			if err == nil && rec.ShipmentID == "" {
				err = errors.New("it has no shipment")
			}
			return err
		})
	}
	refusal := func(id string) string {
		return `{"type":"ShipmentRefused","orderId":"` + id + `","shipmentId":"shp-` + id + `",` +
			`"reason":"no one at Heidestrasse 17, Hinterhaus, D-50667 Kölle, call +49221"}`
	}
	send(s.Resources.CarrierAnswers, refusal(quoted))
	send(s.Resources.CarrierAnswers,
		`{"type":"ShipmentDispatched","orderId":"`+twice+`","shipmentId":"shp-`+twice+`","trackingId":"trk-1"}`)
	for id, want := range ids {
		ended(t, s.API, id, want)
	}
	send(s.Resources.CarrierAnswers, refusal(twice)) // contradicts the answer before

	// Messages that cannot be processed, each for another reason.
	whole := order.Order{
		OrderID: prefix + "done", Currency: "EUR", Payment: order.Payment{Token: "tok_other"},
		Lines: []order.Line{{SKU: "SKU-1", Quantity: 1, UnitPrice: 1}},
	}
	marked(func(o *order.Order) { o.ShipTo.Line1 = "Heidestrasse 18" })(&whole)
	differs, err := json.Marshal(whole)
	require.NoError(t, err)
	for _, body := range []string{
		string(differs), // with the id of another order
		strings.Replace(string(differs), `"EUR"`, `"XXL"`, 1),
		strings.Replace(string(differs), `"token":"tok_other"`, `"token":["tok_other"]`, 1),
		strings.Replace(string(differs), `"name":"Erika Markus"`, `"name":"Erika Markus\u0000"`, 1),
		strings.Replace(string(differs), `"city":`, `"city":"Kölle","city":`, 1),
		strings.Replace(string(differs), `"shipTo":{`, `"shipTo":"Erika Markus","x":{`, 1),
		string(differs[:len(differs)-1]),
		"Erika Markus, Heidestrasse 17, tok_other",
	} {
		send(s.Resources.OrderQueue, body)
	}
	testkit.Eventually(t, "there are nine dead letters", func() error {
		var queues struct {
			Queues []struct{ Dead int }
		}
		call(t, http.MethodGet, s.API+"/v1/dead-letters", nil, &queues)
		n := 0
		for _, q := range queues.Queues {
			n += q.Dead
		}
		if n != 9 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})

	without := func(where string, b []byte) {
		t.Helper()
		if len(b) < 100 {
			t.Errorf("%s has only %d bytes, want at least 100: %s", where, len(b), b)
		}
		for _, mark := range marks {
			if at := bytes.Index(b, []byte(mark)); at >= 0 {
				t.Errorf("%s is in %s: …%s…, want it left out", mark, where, b[max(0, at-300):min(len(b), at+50)])
			}
		}
	}
	read := func(path string) []byte {
		res, err := http.Get(s.API + path)
		require.NoError(t, err)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return b
	}
	for id := range ids {
		without("the history of "+id, read("/v1/sagas/"+id+"/history"))
	}
	call(t, http.MethodPost, s.API+"/v1/customers/c-erika/forget", map[string]string{}, nil)
	without("the metrics", read("/metrics"))
	without("the log", []byte(log.String()))
	testkit.Eventually(t, "the spans of all are there", func() error {
		for id := range ids {
			if err := has(collector.OfOrder(id), "orchestration||OrderSaga"); err != nil && ids[id].Terminal() {
				return fmt.Errorf("%s: %w", id, err)
			}
		}
		return nil
	})
	spans, err := json.Marshal(collector.Spans())
	require.NoError(t, err)
	without("the spans", spans)
}

// TestNobodyIsInLogsSpansMetricsAndHistories; the provider quotes the token.
func TestNobodyIsInLogsSpansMetricsAndHistories(t *testing.T) {
	log := &logged{}
	quoted := false
	s := testkit.NewSystem(t, func(w *worker.Worker) {
		w.Logger = zerolog.New(log).Level(zerolog.DebugLevel)
		at, err := url.Parse(w.PaymentURL)
		require.NoError(t, err)
		proxy := httputil.NewSingleHostReverseProxy(at)
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			var asked struct{ Token string }
			b, _ := io.ReadAll(r.Body)
			_ = json.Unmarshal(b, &asked)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
			said := httptest.NewRecorder()
			proxy.ServeHTTP(said, r)
			answer := said.Body.Bytes()
			if asked.Token != "" && said.Code >= 400 {
				answer = bytes.Replace(answer, []byte(`"message":"`), []byte(`"message":"of `+asked.Token+`: `), 1)
				quoted = quoted || bytes.Contains(answer, []byte(asked.Token))
			}
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(said.Code)
			_, _ = rw.Write(answer)
		}))
		t.Cleanup(server.Close)
		w.PaymentURL = server.URL
	}, nil)
	s.SetStock(t, map[string]int64{"SKU-1": 1000})
	nowhere(t, s, "people-", log)
	if !quoted {
		t.Error("the provider has quoted no token, want at least one")
	}
}

// TestNobodyIsInLogsSpansMetricsAndHistoriesOnDapr is that test there, with what
// the sidecars log and export.
func TestNobodyIsInLogsSpansMetricsAndHistoriesOnDapr(t *testing.T) {
	log := &logged{}
	s := testkit.NewDaprSystem(t, zerolog.New(log).Level(zerolog.DebugLevel), nil)
	s.SetStock(t, map[string]int64{"SKU-1": 1000})
	nowhere(t, s, "people-dapr-", log)
}
