// Package carriersim simulates a carrier, for development and tests. It consumes shipment
// requests from a queue, records parcels, and sends an answer to each request to another
// queue. The name of the recipient selects the answer:
//
//	REFUSE   the request is refused
//	SILENT   the request is accepted and never answered
//	else     the parcel is dispatched
//
// A repeated request (same shipmentId) is the same parcel and gets the same answer.
package carriersim

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"
	"github.com/tidwall/btree"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/httpserve"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Options configure Open. SQS and the three URLs are required.
type Options struct {
	Dir         string // directory of the records; "" keeps them in memory only
	SQS         sqsconsumer.SQS
	RequestsURL string // queue of shipment requests
	AnswersURL  string // queue for the answers
	DLQURL      string // dead-letter queue for invalid requests
	// Token is the APP_API_TOKEN that a Dapr sidecar must send with requests; "" requires
	// none.
	Token  string
	Logger zerolog.Logger
	// CompactAfter and FS are as in journal.Options.
	CompactAfter int64
	FS           journal.FS
}

// Carrier is a simulated carrier. It is safe for concurrent use.
type Carrier struct {
	opt      Options
	consumer *sqsconsumer.Consumer

	mu      sync.Mutex
	parcels btree.Map[string, Parcel] // by shipment id
	journal *journal.Journal
}

// Parcel is the record of one shipment request.
type Parcel struct {
	ShipmentID string    `json:"shipmentId"`
	OrderID    string    `json:"orderId"`
	Outcome    string    `json:"outcome"` // Dispatched, Refused or Silent
	TrackingID string    `json:"trackingId,omitempty"`
	Requests   int       `json:"requests"` // number of requests, repetitions included
	CreatedAt  time.Time `json:"createdAt"`
}

// Outcomes of a shipment request.
const (
	Dispatched = "dispatched"
	Refused    = "refused"
	Silent     = "silent"
)

// Open returns a carrier with the records in Options.Dir. The caller must call Close.
func Open(o Options) (*Carrier, error) {
	c := &Carrier{opt: o}
	c.consumer = sqsconsumer.New(
		sqsconsumer.Options{SQS: o.SQS, QueueURL: o.RequestsURL, DLQURL: o.DLQURL, Handle: c.handle, Logger: o.Logger},
	)
	j, err := journal.Open(
		o.Dir,
		journal.Options{Sync: journal.SyncOff, Logger: o.Logger, CompactAfter: o.CompactAfter, FS: o.FS},
		func(rec []byte) error {
			var p Parcel
			if err := json.Unmarshal(rec, &p); err != nil {
				return fmt.Errorf("decode a record of the carrier: %w", err)
			}
			c.parcels.Set(p.ShipmentID, p)
			return nil
		},
	)
	if err != nil {
		return nil, fmt.Errorf("open the carrier's records: %w", err)
	}
	c.journal = j
	return c, nil
}

// Close closes the records.
func (c *Carrier) Close() error { return c.journal.Close() }

// Run consumes requests until ctx ends.
func (c *Carrier) Run(ctx context.Context) error { return c.consumer.Run(ctx) }

// Ready returns why no parcel can be recorded at the moment, or nil.
func (c *Carrier) Ready() error { return c.journal.Err() }

// Watch is as that of journal.Journal.
func (c *Carrier) Watch(ctx context.Context) error { return c.journal.Watch(ctx) }

// handle processes one message.
func (c *Carrier) handle(ctx context.Context, m events.Message) error {
	return sqsconsumer.HandleEvent(ctx, events.TopicShipmentEvents, m, c.request, events.TypeShipmentRequested)
}

// request processes one shipment request.
func (c *Carrier) request(ctx context.Context, e events.Event) error {
	var r struct {
		Type, ShipmentID, OrderID string
		ShipTo                    *order.Address
	}
	if err := json.Unmarshal(e.Payload, &r); err != nil {
		return &sqsconsumer.PermanentError{Reason: fmt.Errorf("body: is not a shipment request: %w", err)}
	}
	if r.Type != events.TypeShipmentRequested || r.ShipmentID == "" || !order.ValidID(r.OrderID) {
		return &sqsconsumer.PermanentError{Reason: errors.New("type, shipmentId, orderId: not those of a shipment request")}
	}
	tracing.Concerns(ctx, r.OrderID)
	p, err := c.record(ctx, r.ShipmentID, r.OrderID, r.ShipTo)
	if err != nil || p.Outcome == Silent {
		return err
	}
	return c.answer(ctx, p)
}

// record records a request durably, and returns its parcel.
func (c *Carrier) record(ctx context.Context, shipmentID, orderID string, to *order.Address) (Parcel, error) {
	if err := c.journal.WaitForSpace(ctx); err != nil {
		return Parcel{}, fmt.Errorf("record parcel %s: %w", shipmentID, err)
	}
	c.mu.Lock()
	p, known := c.parcels.Get(shipmentID)
	if !known {
		p = Parcel{ShipmentID: shipmentID, OrderID: orderID, Outcome: Dispatched, TrackingID: "trk-" + orderID, CreatedAt: time.Now().UTC()}
		switch {
		case to != nil && to.Name == "REFUSE":
			p.Outcome, p.TrackingID = Refused, ""
		case to != nil && to.Name == "SILENT":
			p.Outcome = Silent
		}
	}
	p.Requests++
	b, err := json.Marshal(p)
	if err != nil {
		c.mu.Unlock()
		return p, fmt.Errorf("encode parcel %s: %w", shipmentID, err)
	}
	c.parcels.Set(shipmentID, p)
	c.journal.Append(b)
	c.mu.Unlock()
	c.journal.CompactIfNeeded(c.snapshot)
	if err := c.journal.WaitAll(ctx); err != nil {
		return p, fmt.Errorf("record parcel %s: %w", shipmentID, err)
	}
	return p, nil
}

// snapshot emits all parcels, for the journal's compaction.
func (c *Carrier) snapshot(emit func([]byte) error) (err error) {
	c.mu.Lock()
	parcels := c.parcels.Copy() // cheap: it copies on write
	c.mu.Unlock()
	parcels.Scan(func(_ string, p Parcel) bool {
		var b []byte
		b, err = json.Marshal(p)
		if err == nil {
			err = emit(b)
		}
		return err == nil
	})
	return err
}

// answer sends the answer to a request.
func (c *Carrier) answer(ctx context.Context, p Parcel) error {
	a := events.CarrierAnswer{
		SpecVersion: 1,
		Type:        "ShipmentDispatched",
		ShipmentID:  p.ShipmentID,
		OrderID:     p.OrderID,
		TrackingID:  p.TrackingID,
	}
	if p.Outcome == Refused {
		a.Type, a.Reason = "ShipmentRefused", "the carrier does not deliver there"
	}
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode the answer to shipment %s: %w", p.ShipmentID, err)
	}
	ctx, span := tracing.Send(ctx, intake.CarrierAnswersSource, p.OrderID)
	attributes := map[string]types.MessageAttributeValue{"type": {DataType: aws.String("String"), StringValue: &a.Type}}
	if parent := tracing.Parent(ctx); parent != "" {
		attributes[tracing.Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &parent}
	}
	_, err = c.opt.SQS.SendMessage(
		ctx,
		&sqs.SendMessageInput{QueueUrl: &c.opt.AnswersURL, MessageBody: aws.String(string(b)), MessageAttributes: attributes},
	)
	tracing.End(span, err)
	if err != nil {
		return fmt.Errorf("send the answer to shipment %s: %w", p.ShipmentID, err)
	}
	return nil
}

// Parcels returns one page of the parcels of an order, or of all orders for "", and the cursor
// of the next page; "" after the last.
func (c *Carrier) Parcels(orderID, cursor string, limit int) (out []Parcel, next string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out = []Parcel{}
	c.parcels.Ascend(cursor, func(id string, p Parcel) bool {
		if id == cursor || (orderID != "" && p.OrderID != orderID) {
			return true
		}
		if len(out) == limit {
			next = out[limit-1].ShipmentID
			return false
		}
		out = append(out, p)
		return true
	})
	return out, next
}

// Handler serves GET /v1/shipments (?orderId= ?cursor= ?limit=), /healthz, /readyz, which is
// 503 while no parcel can be recorded, and POST /v1/shipment-events, to which a Dapr sidecar
// delivers requests.
func (c *Carrier) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(tracing.Route)
	r.Post("/v1/shipment-events", c.deliver)
	r.Get("/v1/shipments", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		limit, err := strconv.Atoi(cmp.Or(q.Get("limit"), "1000"))
		if err != nil || limit < 1 || limit > 1000 {
			http.Error(w, "limit must be 1 to 1000", http.StatusBadRequest)
			return
		}
		list, next := c.Parcels(q.Get("orderId"), q.Get("cursor"), limit)
		if err := c.journal.WaitAll(r.Context()); err != nil {
			http.Error(w, "records are not on disk: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		respond(w, map[string]any{"shipments": list, "next": next})
	})
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { httpserve.WriteHealth(w, nil) })
	r.Get("/readyz", func(w http.ResponseWriter, _ *http.Request) { httpserve.WriteHealth(w, c.Ready()) })
	return r
}

// deliver handles a request from a Dapr sidecar. Dapr delivers it again after a failure. An
// invalid request is dead-lettered here, with its reason: Dapr's own dead letters have none.
// https://docs.dapr.io/reference/api/pubsub_api/#expected-http-response
func (c *Carrier) deliver(w http.ResponseWriter, r *http.Request) {
	if c.opt.Token != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Dapr-Api-Token")), []byte(c.opt.Token)) == 0 {
		http.Error(w, "header Dapr-Api-Token: missing or wrong", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	log := c.opt.Logger.With().Logger() // a logger of its own, to which the order id is added
	ctx := log.WithContext(r.Context())
	if err == nil {
		err = c.handle(ctx, events.Message{Body: body})
	}
	if poison, ok := errors.AsType[*sqsconsumer.PermanentError](err); ok {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("shipment request is invalid and is dead-lettered")
		err = c.consumer.DeadLetter(r.Context(), types.Message{Body: aws.String(string(body))}, poison.Reason)
	}
	status := "SUCCESS"
	if err != nil {
		status = "RETRY"
		zerolog.Ctx(ctx).Warn().Err(err).Msg("shipment request failed; it will be delivered again")
	}
	respond(w, map[string]string{"status": status})
}

// respond writes a JSON response.
func respond(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // an error means that the client has disconnected
}
