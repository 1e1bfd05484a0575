package devenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/awslocal"
	"github.com/ordersaga/ordersaga/internal/carriersim"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/httpcall"
	"github.com/ordersaga/ordersaga/internal/httpserve"
	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/paging"
	"github.com/ordersaga/ordersaga/internal/paymentsim"
	"github.com/ordersaga/ordersaga/internal/tracing"
	"github.com/ordersaga/ordersaga/internal/worker"
)

// Journals are the folders of a data directory that have a journal, beside the
// embedded engine's.
var Journals = []string{"aws/sqs", "aws/sns", "aws/dynamodb", "payment", "carrier"}

// advise says what to do about a damaged journal.
func advise(err error, dataDir string) error {
	if corrupt := new(journal.CorruptError); errors.As(err, &corrupt) {
		return fmt.Errorf("%w; `ordersaga data verify --data-dir %[2]s` shows all of the damage, `ordersaga data repair --data-dir %[2]s` saves the rest", err, dataDir)
	}
	return err
}

// LocalAWS runs the local AWS endpoint.
type LocalAWS struct {
	DataDir  string // "" keeps nothing
	Region   string
	Listener net.Listener
	// Throttle and Conflict are the shares of requests to throttle and of
	// DynamoDB transactions to cancel with TransactionConflict; Seed makes
	// them repeatable.
	Throttle, Conflict float64
	Seed               uint64
	Logger             zerolog.Logger
}

// Run serves until ctx ends.
func (l LocalAWS) Run(ctx context.Context) error {
	s, err := awslocal.Open(awslocal.Options{
		Dir: worker.Folder(l.DataDir, "aws"), Region: l.Region, Logger: l.Logger,
		Fault: awslocal.ThrottleSome("", l.Throttle, l.Seed), Conflict: awslocal.WithProbability(l.Conflict, l.Seed),
	})
	if err != nil {
		return errors.Join(advise(err, l.DataDir), l.Listener.Close())
	}
	return errors.Join(s.Serve(ctx, l.Listener), s.Close())
}

// Payment runs the payment simulator.
type Payment struct {
	DataDir  string
	Listener net.Listener
	Key      string // API key that callers must bring; "" wants none
	Logger   zerolog.Logger
}

// Run serves until ctx ends.
func (p Payment) Run(ctx context.Context) error {
	provider, err := paymentsim.Open(paymentsim.Options{Dir: worker.Folder(p.DataDir, "payment"), Key: p.Key, Logger: p.Logger})
	if err != nil {
		return errors.Join(advise(err, p.DataDir), p.Listener.Close())
	}
	return errors.Join(httpserve.Run(ctx, p.Listener, tracing.Handler(provider.Handler())), provider.Close())
}

// Carrier runs the carrier simulator.
type Carrier struct {
	DataDir  string
	AWS      cloud.Options
	Listener net.Listener
	// Pushed: a Dapr sidecar delivers the requests; the queue is left alone.
	Pushed bool
	Token  string // that the sidecar shows (its APP_API_TOKEN); "" wants none
	Logger zerolog.Logger
}

// Run takes shipment requests and serves the carrier's book until ctx ends.
func (c Carrier) Run(ctx context.Context) error {
	sim, err := c.open(ctx)
	if ctx.Err() != nil {
		err = nil // told to stop before it was up
	}
	if err != nil || sim == nil {
		return errors.Join(advise(err, c.DataDir), c.Listener.Close())
	}
	g, gctx := errgroup.WithContext(ctx)
	if !c.Pushed {
		g.Go(func() error { return sim.Run(gctx) })
	}
	g.Go(func() error { return httpserve.Run(gctx, c.Listener, tracing.Handler(sim.Handler())) })
	return errors.Join(g.Wait(), sim.Close())
}

func (c Carrier) open(ctx context.Context) (*carriersim.Carrier, error) {
	clients, err := cloud.New(ctx, c.AWS)
	if err != nil {
		return nil, err
	}
	r, err := clients.Find(ctx)
	if err != nil {
		return nil, cloud.WithHint(err)
	}
	return carriersim.Open(carriersim.Options{
		Dir: worker.Folder(c.DataDir, "carrier"), SQS: clients.SQS, Token: c.Token, Logger: c.Logger,
		RequestsURL: r.CarrierRequests, AnswersURL: r.CarrierAnswers, DLQURL: r.CarrierRequestsDLQ,
	})
}

// Simulators reaches running simulators over HTTP.
type Simulators struct {
	PaymentURL, CarrierURL string
	PaymentKey             string
	Installation           payment.Installation // whose orders they know
	HTTP                   *http.Client         // nil means http.DefaultClient
}

// HealPayments ends the outages that test tokens have caused.
func (s Simulators) HealPayments(ctx context.Context) error {
	return s.call(ctx, http.MethodPost, s.PaymentURL+"/v1/heal", nil)
}

// ForgetPayments makes the provider forget idempotency keys.
func (s Simulators) ForgetPayments(ctx context.Context) error {
	return s.call(ctx, http.MethodPost, s.PaymentURL+"/v1/forget", nil)
}

// Shipments reads the carrier's whole book.
func (s Simulators) Shipments(ctx context.Context) ([]invariants.Shipment, error) {
	read := func(cursor string) ([]carriersim.Parcel, string, error) {
		var page struct {
			Shipments []carriersim.Parcel
			Next      string
		}
		err := s.call(ctx, http.MethodGet, s.CarrierURL+"/v1/shipments?cursor="+url.QueryEscape(cursor), &page)
		return page.Shipments, page.Next, err
	}
	var all []invariants.Shipment
	for page, err := range paging.Pages("the carrier's book", read, func(p carriersim.Parcel) string { return p.ShipmentID }) {
		if err != nil {
			return nil, err
		}
		for _, p := range page {
			all = append(all, invariants.Shipment{ShipmentID: p.ShipmentID, OrderID: p.OrderID, Refused: p.Outcome == carriersim.Refused})
		}
	}
	return all, nil
}

func (s Simulators) call(ctx context.Context, method, at string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, at, http.NoBody)
	if err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	res, err := httpcall.Do(s.HTTP, req)
	if err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // decoded below; nothing to learn from closing
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("simulator: %s %s answered %s", method, at, res.Status)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("simulator: decode answer of %s: %w", at, err)
	}
	return nil
}
