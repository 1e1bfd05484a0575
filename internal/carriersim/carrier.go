// Package carriersim is a carrier to develop and test against: it takes
// shipment requests from a queue, keeps a book of parcels, and answers each
// request on another queue. The name of the recipient decides what happens:
//
//	REFUSE   the request is refused
//	SILENT   taken, and never answered
//	else     dispatched
//
// A repeated request (same shipmentId) is one parcel and gets the same answer.
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
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/tracing"
)

// Options of a Carrier.
type Options struct {
	Dir         string // of the book; "" keeps it in memory only
	SQS         sqsconsumer.SQS
	RequestsURL string // queue of shipment requests
	AnswersURL  string // queue of the carrier's answers
	DLQURL      string // for requests that cannot be read
	// Token is what a Dapr sidecar shows with what it delivers (its
	// APP_API_TOKEN); "" wants none.
	Token  string
	Logger zerolog.Logger
	// CompactAfter: see journal.Options.
	CompactAfter int64
}

// Carrier is the simulator.
type Carrier struct {
	opt      Options
	consumer *sqsconsumer.Consumer

	mu      sync.Mutex
	book    btree.Map[string, Parcel] // by shipment id
	journal *journal.Journal
}

// Parcel is one entry of the book.
type Parcel struct {
	ShipmentID string    `json:"shipmentId"`
	OrderID    string    `json:"orderId"`
	Outcome    string    `json:"outcome"` // Dispatched, Refused or Silent
	TrackingID string    `json:"trackingId,omitempty"`
	Requests   int       `json:"requests"` // how often it was asked for
	CreatedAt  time.Time `json:"createdAt"`
}

// Outcomes of a request.
const (
	Dispatched = "dispatched"
	Refused    = "refused"
	Silent     = "silent"
)

// Open reads the book.
func Open(o Options) (*Carrier, error) {
	c := &Carrier{opt: o}
	c.consumer = sqsconsumer.New(sqsconsumer.Options{SQS: o.SQS, QueueURL: o.RequestsURL, DLQURL: o.DLQURL, Handle: c.handle, Logger: o.Logger})
	j, err := journal.Open(o.Dir, journal.Options{Sync: journal.SyncOff, Logger: o.Logger, CompactAfter: o.CompactAfter}, func(rec []byte) error {
		var p Parcel
		if err := json.Unmarshal(rec, &p); err != nil {
			return fmt.Errorf("decode carrier's book: %w", err)
		}
		c.book.Set(p.ShipmentID, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open carrier's book: %w", err)
	}
	c.journal = j
	return c, nil
}

// Close closes the book.
func (c *Carrier) Close() error { return c.journal.Close() }

// Run handles requests until ctx ends. A full disk does not hold it up then.
func (c *Carrier) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, c.journal.StopWaiting)()
	return c.consumer.Run(ctx)
}

func (c *Carrier) handle(ctx context.Context, m events.Message) error {
	return sqsconsumer.HandleEvent(ctx, events.TopicShipmentEvents, m, c.request, events.TypeShipmentRequested)
}

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
	p, err := c.take(r.ShipmentID, r.OrderID, r.ShipTo)
	if err != nil || p.Outcome == Silent {
		return err
	}
	return c.answer(ctx, p)
}

// take books a request.
func (c *Carrier) take(shipmentID, orderID string, to *order.Address) (Parcel, error) {
	c.mu.Lock()
	p, known := c.book.Get(shipmentID)
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
	c.book.Set(shipmentID, p)
	commit := c.journal.Append(b)
	c.mu.Unlock()
	c.journal.CompactIfNeeded(c.snapshot)
	return p, commit.Wait()
}

func (c *Carrier) snapshot(emit func([]byte) error) (err error) {
	c.mu.Lock()
	book := c.book.Copy() // on write: cheap
	c.mu.Unlock()
	book.Scan(func(_ string, p Parcel) bool {
		var b []byte
		if b, err = json.Marshal(p); err == nil {
			err = emit(b)
		}
		return err == nil
	})
	return err
}

func (c *Carrier) answer(ctx context.Context, p Parcel) error {
	a := events.CarrierAnswer{SpecVersion: 1, Type: "ShipmentDispatched", ShipmentID: p.ShipmentID, OrderID: p.OrderID, TrackingID: p.TrackingID}
	if p.Outcome == Refused {
		a.Type, a.Reason = "ShipmentRefused", "the carrier does not deliver there"
	}
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode answer for shipment %s: %w", p.ShipmentID, err)
	}
	ctx, span := tracing.Send(ctx, intake.AnswersOfCarrier, p.OrderID)
	attributes := map[string]types.MessageAttributeValue{"type": {DataType: aws.String("String"), StringValue: &a.Type}}
	if parent := tracing.Parent(ctx); parent != "" {
		attributes[tracing.Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &parent}
	}
	_, err = c.opt.SQS.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &c.opt.AnswersURL, MessageBody: aws.String(string(b)), MessageAttributes: attributes})
	tracing.End(span, err)
	if err != nil {
		return fmt.Errorf("answer shipment %s: %w", p.ShipmentID, err)
	}
	return nil
}

// Parcels pages through the book; orderID "" is all, an empty next ends.
func (c *Carrier) Parcels(orderID, cursor string, limit int) (out []Parcel, next string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out = []Parcel{}
	c.book.Ascend(cursor, func(id string, p Parcel) bool {
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

// Handler serves GET /v1/shipments (?orderId= ?cursor= ?limit=), /healthz, and
// POST /v1/shipment-events, to which a Dapr sidecar delivers requests.
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
		reply(w, map[string]any{"shipments": list, "next": next})
	})
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]string{"status": "ok"}) })
	return r
}

// deliver answers as Dapr wants: what failed is delivered again. What can
// never be handled goes to the dead-letter queue with its reason; Dapr's own
// would not say why.
// https://docs.dapr.io/reference/api/pubsub_api/#expected-http-response
func (c *Carrier) deliver(w http.ResponseWriter, r *http.Request) {
	if c.opt.Token != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Dapr-Api-Token")), []byte(c.opt.Token)) == 0 {
		http.Error(w, "the token is missing or wrong", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	log := c.opt.Logger.With().Logger() // a context of its own, to which the order is added
	ctx := log.WithContext(r.Context())
	if err == nil {
		err = c.handle(ctx, events.Message{Body: body})
	}
	if poison, ok := errors.AsType[*sqsconsumer.PermanentError](err); ok {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("shipment request goes to the dead letters")
		err = c.consumer.DeadLetter(r.Context(), types.Message{Body: aws.String(string(body))}, poison.Reason)
	}
	status := "SUCCESS"
	if err != nil {
		status = "RETRY"
		zerolog.Ctx(ctx).Warn().Err(err).Msg("shipment request not taken; it will be delivered again")
	}
	reply(w, map[string]string{"status": status})
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
