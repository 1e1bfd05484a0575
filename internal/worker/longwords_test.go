package worker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/worker"
	"github.com/ordersaga/ordersaga/workflows"
)

// TestLongWordsDoNotBlock: a provider that declines at length, one that fails at
// length, and a carrier that refuses at length. Each order ends as it should, with
// its stock given back, and what is kept of it stays small.
func TestLongWordsDoNotBlock(t *testing.T) {
	declined := strings.Repeat(`no\u0000`, 375_000/8)
	front := http.NewServeMux()
	s := testkit.NewSystem(t, func(w *worker.Worker) {
		provider := w.PaymentURL
		front.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
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
					t.Error(err)
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
			must(t, err)
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
				must(t, err)
				_, err = s.Clients.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &s.Resources.CarrierAnswers, MessageBody: aws.String(strings.ToValidUTF8(strings.ReplaceAll(string(b), "\uffff", `\uffff`), ""))})
				must(t, err)
			}
			var rec orderstore.Record
			testkit.Eventually(t, "it ends", func() error {
				if rec, err = s.Store.Get(t.Context(), id); err != nil || !rec.Status.Terminal() {
					return fmt.Errorf("%s %.200s %w", rec.Status, rec.Reason, err)
				}
				return nil
			})
			if rec.Status != c.want || len(rec.Reason) > 4000 {
				t.Errorf("%s for %d bytes of reason", rec.Status, len(rec.Reason))
			}
			if _, err := s.Parts.Engine.Wait(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			events, err := s.Parts.Engine.History(t.Context(), id)
			must(t, err)
			b, err := json.Marshal(events)
			must(t, err)
			res, err := http.Get(s.API + "/console/sagas/" + id)
			must(t, err)
			page, err := io.ReadAll(res.Body)
			must(t, err)
			must(t, res.Body.Close())
			if res.StatusCode != http.StatusOK || len(b) > 150_000 || len(page) > 400_000 {
				t.Errorf("%d: the history has %d bytes, its page %d", res.StatusCode, len(b), len(page))
			}
		})
	}
	l, err := s.Store.GetLevel(t.Context(), "A")
	if err != nil || l.Available != 10 || l.Reserved != 0 || l.Sold != 0 {
		t.Errorf("%+v %v", l, err)
	}
}
