package worker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

// TestLongReasonsDoNotBlock: a provider declines with a long reason, or fails with one,
// and a carrier refuses with one. Each order ends as it should, its stock is released,
// and what is stored of the reason stays small.
func TestLongReasonsDoNotBlock(t *testing.T) {
	declined := strings.Repeat(`no\u0000`, 375_000/8)
	front := http.NewServeMux()
	s := testkit.NewSystem(t, func(w *worker.Worker) {
		provider := w.PaymentURL
		front.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Errorf("read the request: %v", err)
			}
			switch {
			case r.Method == http.MethodPost && strings.Contains(string(body), `"tok_wordy_no"`):
				w.WriteHeader(http.StatusPaymentRequired)
				_, _ = fmt.Fprintf(w, `{"code":"card_declined","message":"%s"}`, declined)
			case r.Method == http.MethodPost && strings.Contains(string(body), `"tok_wordy_error"`):
				w.WriteHeader(http.StatusBadGateway)
				_, _ = fmt.Fprintf(w, `{"code":"%s","message":"%s"}`, declined, declined)
			default:
				req, err := http.NewRequestWithContext(r.Context(), r.Method, provider+r.URL.RequestURI(), strings.NewReader(string(body)))
				if err != nil {
					t.Errorf("forward the request: %v", err)
					return
				}
				req.Header = r.Header
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				defer func() { _ = res.Body.Close() }()
				w.WriteHeader(res.StatusCode)
				_, _ = io.Copy(w, res.Body)
			}
		})
		server := httptest.NewServer(front)
		t.Cleanup(server.Close)
		w.PaymentURL = server.URL
	}, nil)
	s.SetStock(t, map[string]int64{"A": 10})

	for id, c := range map[string]struct {
		token, recipient string
		want             order.Status
	}{
		"declined": {"tok_wordy_no", "Ann", order.StatusDeclined},
		"failed":   {"tok_wordy_error", "Ann", order.StatusFailed},
		"refused":  {"tok_ok", "SILENT", order.StatusFailed},
	} {
		t.Run(id, func(t *testing.T) {
			o := order.Order{
				OrderID: id, CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: c.token},
				Lines: []order.Line{{SKU: "A", Quantity: 2, UnitPrice: 100}}, ShipTo: &order.Address{Name: c.recipient},
			}
			_, _, err := intake.Starter{Orders: s.Store, Sagas: s.Parts.Engine, Terms: s.Worker.Terms}.Start(t.Context(), o)
			require.NoError(t, err)
			if c.recipient == "SILENT" {
				testkit.Eventually(t, "it waits for the carrier", func() error {
					i, err := s.Parts.Engine.Get(t.Context(), id)
					if err != nil || i.CustomStatus != workflows.StepCarrier {
						return fmt.Errorf("%s %w", i.CustomStatus, err)
					}
					return nil
				})
				b, err := json.Marshal(map[string]string{
					"type": "ShipmentRefused", "orderId": id, "shipmentId": shipment.ID(id), "reason": strings.Repeat("\uffff\x01 island", 230_000/13),
				})
				require.NoError(t, err)
				body := strings.ToValidUTF8(strings.ReplaceAll(string(b), "\uffff", `\uffff`), "")
				_, err = s.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &s.Resources.CarrierAnswers, MessageBody: &body})
				require.NoError(t, err)
			}
			var rec orderstore.Record
			testkit.Eventually(t, "it ends", func() error {
				rec, err = s.Store.Get(t.Context(), id)
				if err != nil || !rec.Status.Terminal() {
					return fmt.Errorf("%s %.200s %w", rec.Status, rec.Reason, err)
				}
				return nil
			})
			if rec.Status != c.want || len(rec.Reason) > 4000 {
				t.Errorf("status = %s with %d bytes of reason, want %s with at most 4000", rec.Status, len(rec.Reason), c.want)
			}
			if _, err := s.Parts.Engine.Wait(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			events, err := s.Parts.Engine.History(t.Context(), id)
			require.NoError(t, err)
			b, err := json.Marshal(events)
			require.NoError(t, err)
			res, err := http.Get(s.API + "/console/sagas/" + id)
			require.NoError(t, err)
			page, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			if res.StatusCode != http.StatusOK || len(b) > 150_000 || len(page) > 400_000 {
				t.Errorf("page: status = %d with %d bytes, want 200 with at most 400,000; history: %d bytes, want at most 150,000",
					res.StatusCode, len(page), len(b))
			}
		})
	}
	l, err := s.Store.GetLevel(t.Context(), "A")
	if err != nil || l.Available != 10 || l.Reserved != 0 || l.Sold != 0 {
		t.Errorf("stock level = %+v (%v), want 10 available", l, err)
	}
}
