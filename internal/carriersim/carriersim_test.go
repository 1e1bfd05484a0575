package carriersim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/activities/shipment"
	"github.com/ordersaga/ordersaga/internal/carriersim"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "sidecar-token"

type sim struct {
	*testing.T
	testkit.AWS
	carrier *carriersim.Carrier
	url     string
	stop    func()
}

func open(t *testing.T, a testkit.AWS, dir string) *sim {
	t.Helper()
	c, err := carriersim.Open(carriersim.Options{
		Dir: dir, SQS: a.Clients.SQS, RequestsURL: a.Resources.CarrierRequests,
		AnswersURL: a.Resources.CarrierAnswers, DLQURL: a.Resources.CarrierRequestsDLQ, Token: token, Logger: zerolog.Nop(), CompactAfter: 512,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	server := httptest.NewServer(c.Handler())
	s := &sim{T: t, AWS: a, carrier: c, url: server.URL}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		server.Close()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// request publishes a shipment request, as the saga does.
func (s *sim) request(orderID, name string) {
	s.Helper()
	o := order.Order{OrderID: orderID, Lines: []order.Line{{SKU: "A", Quantity: 1}}}
	if name != "" {
		o.ShipTo = &order.Address{Name: name}
	}
	p := shipment.New(s.Clients.SNS, s.Resources.ShipmentTopic, s.Resources.CustomerTopic)
	if err := p.RequestShipment(s.Context(), o); err != nil {
		s.Fatal(err)
	}
}

// receive waits for n messages of a queue and deletes them.
func (s *sim) receive(url string, n int) (bodies []string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	for len(bodies) < n {
		out, err := s.Clients.SQS.ReceiveMessage(
			ctx,
			&sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"}},
		)
		if err != nil {
			s.Fatal(err)
		}
		for _, m := range out.Messages {
			if _, err := s.Clients.SQS.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				s.Fatal(err)
			}
			body := *m.Body
			if v := m.MessageAttributes["Reason"]; v.StringValue != nil {
				body += " → " + *v.StringValue
			}
			bodies = append(bodies, body)
		}
	}
	return bodies
}

func (s *sim) answer() (a events.CarrierAnswer) {
	s.Helper()
	if err := json.Unmarshal([]byte(s.receive(s.Resources.CarrierAnswers, 1)[0]), &a); err != nil {
		s.Fatal(err)
	}
	return a
}

type page struct {
	Shipments []carriersim.Parcel
	Next      string
}

func (s *sim) list(query string) (status int, p page) {
	s.Helper()
	res, err := http.Get(s.url + "/v1/shipments?" + query)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
			s.Fatal(err)
		}
	}
	return res.StatusCode, p
}

// parcel waits until the carrier has recorded so many requests of an order.
func (s *sim) parcel(orderID string, requests int) (p carriersim.Parcel) {
	s.Helper()
	testkit.Eventually(s, orderID+" is recorded", func() error {
		_, l := s.list("orderId=" + orderID)
		if len(l.Shipments) != 1 || l.Shipments[0].Requests != requests {
			return fmt.Errorf("shipments = %+v, want one with %d requests", l.Shipments, requests)
		}
		p = l.Shipments[0]
		return nil
	})
	return p
}

func TestNameSelectsTheAnswer(t *testing.T) {
	t.Parallel()
	s := open(t, testkit.NewAWS(t, nil), "")
	for _, c := range []struct{ id, name, outcome, answer, tracking, reason string }{
		{"o-1", "Ann", carriersim.Dispatched, "ShipmentDispatched", "trk-o-1", ""},
		{"o-2", "", carriersim.Dispatched, "ShipmentDispatched", "trk-o-2", ""}, // no address
		{"o-3", "REFUSE", carriersim.Refused, "ShipmentRefused", "", "the carrier does not deliver there"},
		{"o-4", "refuse", carriersim.Dispatched, "ShipmentDispatched", "trk-o-4", ""},
	} {
		for n := range 2 { // a repeated request is one parcel with the same answer
			s.request(c.id, c.name)
			want := events.CarrierAnswer{
				SpecVersion: 1,
				Type:        c.answer,
				ShipmentID:  "shp-" + c.id,
				OrderID:     c.id,
				TrackingID:  c.tracking,
				Reason:      c.reason,
			}
			if a := s.answer(); a != want {
				t.Errorf("answer = %+v, want %+v", a, want)
			}
			if p := s.parcel(c.id, n+1); p.Outcome != c.outcome || p.TrackingID != c.tracking || p.ShipmentID != "shp-"+c.id ||
				p.CreatedAt.IsZero() {
				t.Errorf("parcel = %+v, want shipment shp-%s, with a date, the outcome %s and the tracking id %q", p, c.id, c.outcome, c.tracking)
			}
		}
	}
	s.request("o-5", "SILENT")
	if p := s.parcel("o-5", 1); p.Outcome != carriersim.Silent {
		t.Errorf("parcel of order o-5 = %+v, want the outcome %s", p, carriersim.Silent)
	}
	s.request("o-6", "")
	if a := s.answer(); a.OrderID != "o-6" {
		t.Errorf("answer = %+v, want that of o-6: o-5 gets none", a)
	}
}

func TestRepeatedRequestGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	s := open(t, testkit.NewAWS(t, nil), "")
	s.request("o", "REFUSE")
	first := s.answer()
	s.request("o", "Ann")
	if again := s.answer(); again != first {
		t.Errorf("second answer = %+v, want the first: %+v", again, first)
	}
}

func TestRecordsSurviveRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, testkit.NewAWS(t, nil), dir)
	s.request("o", "REFUSE")
	s.answer()
	before := s.parcel("o", 1)
	s.stop()

	// Another endpoint: a poll that was just cancelled may still receive a message, as on
	// AWS.
	s = open(t, testkit.NewAWS(t, nil), dir)
	if p := s.parcel("o", 1); !p.CreatedAt.Equal(before.CreatedAt) {
		t.Errorf("parcel after the restart = %+v, want the date of %+v", p, before)
	}
	s.request("o", "Ann")
	if got := s.answer(); got.Type != "ShipmentRefused" {
		t.Errorf("answer after the restart = %+v, want ShipmentRefused", got)
	}
	s.parcel("o", 2)
}

func TestRecordsAreCompacted(t *testing.T) {
	t.Parallel()
	dir, a := t.TempDir(), testkit.NewAWS(t, nil)
	s := open(t, a, dir)
	for range 20 {
		s.push(`{"type":"ShipmentRequested","shipmentId":"s","orderId":"o"}`, token)
	}
	s.stop()
	if found, err := filepath.Glob(filepath.Join(dir, "snapshot-*")); err != nil || len(found) != 1 {
		t.Errorf("snapshots = %v, error %v, want one", found, err)
	}
	s = open(t, a, dir)
	s.parcel("o", 20)
}

func TestInvalidRequestsAreDeadLettered(t *testing.T) {
	t.Parallel()
	s := open(t, testkit.NewAWS(t, nil), "")
	bad := map[string]string{
		`{`:                            "is not a shipment request",
		`{"type":"ShipmentRequested"}`: "not those of a shipment request",
		`{"type":"ShipmentCancelled","shipmentId":"s","orderId":"o"}`: `the body's is "ShipmentCancelled", ` +
			`only ShipmentRequested`,
		`{"shipmentId":"s","orderId":"o"}`:                                                           "not those of a shipment request",
		`{"type":"ShipmentRequested","shipmentId":"","orderId":"o"}`:                                 "not those of a shipment request",
		`{"type":"ShipmentRequested","shipmentId":"s","orderId":"a b"}`:                              "not those of a shipment request",
		`{"type":"ShipmentRequested","shipmentId":7,"orderId":"o"}`:                                  "is not a shipment request",
		`{"specversion":"1.0","type":"ShipmentRequested","source":"s","id":"1","data_base64":"%%%"}`: "data_base64",
	}
	queued := func(body string) { // not through the topic, whose filter drops some of them
		b, err := json.Marshal(map[string]string{"Type": "Notification", "TopicArn": "a", "Message": body})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Clients.SQS.SendMessage(t.Context(),
			&sqs.SendMessageInput{QueueUrl: &s.Resources.CarrierRequests, MessageBody: aws.String(string(b))}); err != nil {
			t.Fatal(err)
		}
	}
	pushed := func(body string) {
		if status, answer := s.push(body, token); status != http.StatusOK || !strings.Contains(answer, "SUCCESS") {
			t.Fatalf("deliver %s = %d %s, want 200 SUCCESS", body, status, answer)
		}
	}
	for _, send := range []func(string){queued, pushed} {
		for body := range bad {
			send(body)
		}
		for _, got := range s.receive(s.Resources.CarrierRequestsDLQ, len(bad)) {
			body, reason, _ := strings.Cut(got, " → ")
			var sns struct{ Message string }
			if json.Unmarshal([]byte(body), &sns) == nil && sns.Message != "" {
				body = sns.Message
			}
			if want, ok := bad[body]; !ok || !strings.Contains(reason, want) {
				t.Errorf("dead letter = %s, want one of the invalid requests with its reason", got)
			}
		}
		send(`{"type":"ShipmentRequested","shipmentId":"s","orderId":"good"}`)
		if a := s.answer(); a.OrderID != "good" {
			t.Errorf("answer() = %+v, want OrderID good", a)
		}
	}
	if _, p := s.list(""); len(p.Shipments) != 1 {
		t.Errorf("shipments = %+v, want one", p)
	}
}

// push delivers a request, as a Dapr sidecar does.
func (s *sim) push(body, token string) (status int, answer string) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.url+"/v1/shipment-events", strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("dapr-api-token", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestDeliveryRequiresTheToken(t *testing.T) {
	t.Parallel()
	s := open(t, testkit.NewAWS(t, nil), "")
	for _, wrong := range []string{"", "guess"} {
		if status, _ := s.push(`{"type":"ShipmentRequested","shipmentId":"s","orderId":"o"}`, wrong); status != http.StatusUnauthorized {
			t.Errorf("delivery with token %q = %d, want 401", wrong, status)
		}
	}
	if _, p := s.list(""); len(p.Shipments) != 0 {
		t.Errorf("shipments = %+v, want none", p)
	}
}

func TestFailedRequestIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	s := open(t, a, "")
	if _, err := a.Clients.SQS.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &a.Resources.CarrierAnswers}); err != nil {
		t.Fatal(err)
	}
	if status, answer := s.push(`{"type":"ShipmentRequested","shipmentId":"s","orderId":"o"}`, token); status != http.StatusOK ||
		!strings.Contains(answer, "RETRY") {
		t.Errorf("delivery without a queue for answers = %d %s, want 200 RETRY", status, answer)
	}
}

func TestListHasPages(t *testing.T) {
	t.Parallel()
	s := open(t, testkit.NewAWS(t, nil), "")
	var want []string
	for n := range 25 {
		id := fmt.Sprintf("o%02d", n)
		s.request(id, "SILENT")
		want = append(want, id)
	}
	s.parcel("o24", 1)
	for _, id := range want { // they are processed concurrently
		s.parcel(id, 1)
	}
	for _, limit := range []int{1, 7, 25, 1000} {
		var got []string
		for cursor := ""; ; {
			_, p := s.list(fmt.Sprintf("limit=%d&cursor=%s", limit, cursor))
			if len(p.Shipments) == 0 || len(p.Shipments) > limit {
				t.Fatalf("a page has %d shipments, want 1 to %d", len(p.Shipments), limit)
			}
			for _, x := range p.Shipments {
				got = append(got, x.OrderID)
			}
			cursor = p.Next
			if cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("orders with limit %d = %v, want %v", limit, got, want)
		}
	}
	for _, limit := range []string{"0", "-1", "1001", "x"} {
		if status, _ := s.list("limit=" + limit); status != http.StatusBadRequest {
			t.Errorf("limit %s: status %d, want 400", limit, status)
		}
	}
	if status, p := s.list("orderId=nobody"); status != 200 || p.Shipments == nil || len(p.Shipments) != 0 {
		t.Errorf("shipments of an unknown order = %d %+v, want 200 and an empty list", status, p)
	}
	res, err := http.Get(s.url + "/healthz")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET /healthz = %v, %v, want 200", res, err)
	}
	res.Body.Close()
}
