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

// Journals are the folders of a data directory in which the local AWS endpoint
// and the simulators keep their journals. The embedded engine's is not among them.
var Journals = []string{"aws/sqs", "aws/sns", "aws/dynamodb", "payment", "carrier"}

// withRepairHint adds to the error of a damaged journal how to repair it.
func withRepairHint(err error, dataDir string) error {
	if corrupt := new(journal.CorruptError); errors.As(err, &corrupt) {
		return fmt.Errorf("%w; `ordersaga data verify --data-dir %[2]s` shows all of the damage, "+
			"`ordersaga data repair --data-dir %[2]s` saves the rest", err, dataDir)
	}
	return err
}

// wrap adds what failed to an error, if there is one.
func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s %w", what, err)
	}
	return nil
}

// LocalAWS runs the local AWS endpoint: SQS, SNS, DynamoDB and STS. Listener is
// required.
type LocalAWS struct {
	DataDir  string       // keeps its state in the folder aws of it; "" keeps nothing
	Region   string       // region in ARNs and URLs; "" means us-east-1
	Listener net.Listener // Run closes it
	// Throttle is the share of requests to throttle, and Conflict the share of
	// DynamoDB transactions to cancel with TransactionConflict: 0 to 1.
	Throttle, Conflict float64
	// Seed makes the choice of these requests and transactions repeatable.
	Seed   uint64
	Logger zerolog.Logger // the zero value discards
}

// Run serves until ctx ends, and returns nil then. If the journal fails, Run ends with an
// error. If it is damaged, the error names the command that repairs it.
func (l LocalAWS) Run(ctx context.Context) error {
	s, err := awslocal.Open(awslocal.Options{
		Dir: worker.Folder(l.DataDir, "aws"), Region: l.Region, Logger: l.Logger,
		Fault: awslocal.ThrottleSome("", l.Throttle, l.Seed), Conflict: awslocal.WithProbability(l.Conflict, l.Seed),
	})
	if err != nil {
		return errors.Join(withRepairHint(err, l.DataDir), l.Listener.Close())
	}
	return errors.Join(s.Serve(ctx, l.Listener), s.Close())
}

// Payment runs the payment simulator. Listener is required.
type Payment struct {
	DataDir  string         // keeps its state in the folder payment of it; "" keeps nothing
	Listener net.Listener   // Run closes it
	Key      string         // API key that requests must have; "" requires none
	Logger   zerolog.Logger // the zero value discards
}

// Run serves until ctx ends, and returns nil then. If the journal fails, Run ends with an
// error. If it is damaged, the error names the command that repairs it.
func (p Payment) Run(ctx context.Context) error {
	provider, err := paymentsim.Open(paymentsim.Options{Dir: worker.Folder(p.DataDir, "payment"), Key: p.Key, Logger: p.Logger})
	if err != nil {
		return errors.Join(withRepairHint(err, p.DataDir), p.Listener.Close())
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return wrap("payment simulator", provider.Watch(gctx)) })
	g.Go(func() error { return httpserve.Run(gctx, p.Listener, tracing.Handler(provider.Handler())) })
	return errors.Join(g.Wait(), provider.Close())
}

// Carrier runs the carrier simulator. AWS and Listener are required; the queues
// must exist.
type Carrier struct {
	DataDir  string        // keeps its state in the folder carrier of it; "" keeps nothing
	AWS      cloud.Options // reaches the queues of requests and answers
	Listener net.Listener  // Run closes it
	// Pushed makes it wait for a Dapr sidecar to deliver shipment requests, in
	// place of receiving them from the queue.
	Pushed bool
	Token  string         // token that the sidecar must send, its APP_API_TOKEN; "" requires none
	Logger zerolog.Logger // the zero value discards
}

// Run answers shipment requests and serves the list of shipments until ctx ends,
// and returns nil then. If the journal fails, Run ends with an error. If it is damaged,
// the error names the command that repairs it.
func (c Carrier) Run(ctx context.Context) error {
	sim, err := c.open(ctx)
	if ctx.Err() != nil {
		err = nil // stopped during its start: no failure
	}
	if err != nil || sim == nil {
		return errors.Join(withRepairHint(err, c.DataDir), c.Listener.Close())
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return wrap("carrier simulator", sim.Watch(gctx)) })
	if !c.Pushed {
		g.Go(func() error { return sim.Run(gctx) })
	}
	g.Go(func() error { return httpserve.Run(gctx, c.Listener, tracing.Handler(sim.Handler())) })
	return errors.Join(g.Wait(), sim.Close())
}

// open opens the simulator with the queues of c.AWS.
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

// Simulators is a client of running simulators. PaymentURL and CarrierURL are
// required. It is safe for concurrent use.
type Simulators struct {
	PaymentURL, CarrierURL string               // base URLs
	PaymentKey             string               // API key of the payment simulator; "" sends none
	Installation           payment.Installation // whose charges to read, as in worker.Worker
	HTTP                   *http.Client         // nil means http.DefaultClient
}

// HealPayments ends the outages that test tokens have caused, permanently.
func (s Simulators) HealPayments(ctx context.Context) error {
	return s.call(ctx, http.MethodPost, s.PaymentURL+"/v1/heal", nil)
}

// ForgetPayments makes the payment simulator expire its idempotency keys, as a
// real provider does after a day.
func (s Simulators) ForgetPayments(ctx context.Context) error {
	return s.call(ctx, http.MethodPost, s.PaymentURL+"/v1/forget", nil)
}

// Shipments reads all shipments from the carrier simulator, page by page. It
// returns an error that is paging.ErrRepeats if the cursors repeat.
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
	for page, err := range paging.Pages("the carrier's shipments", read, func(p carriersim.Parcel) string { return p.ShipmentID }) {
		if err != nil {
			return nil, err
		}
		for _, p := range page {
			all = append(all, invariants.Shipment{ShipmentID: p.ShipmentID, OrderID: p.OrderID, Refused: p.Outcome == carriersim.Refused})
		}
	}
	return all, nil
}

// call sends a request without a body, and decodes the response to out unless
// that is nil. Any status other than 2xx is an error. It times out after 30 seconds.
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
	defer func() { _ = res.Body.Close() }() // an error in closing does not matter once the body is decoded
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("simulator: %s %s returned %s", method, at, res.Status)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("simulator: decode the response of %s: %w", at, err)
	}
	return nil
}
