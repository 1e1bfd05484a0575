package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/api/loadgen"
	"github.com/ordersaga/ordersaga/internal/order"
)

// readOrders reads events that follow each other.
func readOrders(files []string) (all []order.Order, err error) {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read orders: %w", err)
		}
		dec := json.NewDecoder(f)
		for n := 1; ; n++ {
			var raw json.RawMessage
			if err = dec.Decode(&raw); err != nil {
				break
			}
			var o order.Order
			if o, err = order.Parse(raw); err != nil {
				err = fmt.Errorf("order %d: %w", n, err)
				break
			}
			all = append(all, o)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("read orders from %s: %w", name, err)
		}
	}
	if len(files) > 0 && len(all) == 0 {
		return nil, fmt.Errorf("read orders from %v: there are none", files)
	}
	return all, nil
}

type loadCmd struct {
	remote

	Rate        float64        `help:"Open loop: orders a second, each at its time, whatever became of those before."`
	Concurrency int            `help:"Closed loop: orders under way at once; the next one comes when one has ended."`
	Orders      int            `help:"End after so many."`
	Duration    time.Duration  `help:"End after so long; 10s if neither is given."`
	Patience    time.Duration  `default:"1m" help:"How long to wait then for sagas that have not ended."`
	Mix         map[string]int `default:"ok=90;twice=2;flaky=2;declined=3;short=2;refused=1" help:"Shares of the kinds of orders: ok, twice (sent twice), flaky and lost (payment that recovers), declined, short (of stock), refused (by the carrier), invalid. What becomes of them is checked; the kinds are those of dev's simulators."`
	File        []string       `placeholder:"FILE" help:"Place the orders of these files instead of a mix, in turn, each time under another id and customer: events in JSON, one after the other, as order convert writes them. What they order must be in stock; all must be COMPLETED."`
	SKU         []string       `name:"sku" default:"SKU-1,SKU-2,SKU-3,SKU-4,SKU-5,SKU-6,SKU-7,SKU-8,SKU-9,SKU-10" help:"What is ordered."`
	Seed        uint64         `default:"1" help:"Of the mix."`
}

func (c loadCmd) Run(e env) error {
	if (c.Rate > 0) == (c.Concurrency > 0) || c.Rate < 0 || c.Concurrency < 0 {
		return errors.New("give either --rate, orders a second, or --concurrency, orders at once; more than 0")
	}
	if c.Orders < 0 || c.Duration < 0 {
		return errors.New("--orders and --duration: must not be negative")
	}
	if c.Orders == 0 && c.Duration == 0 {
		c.Duration = 10 * time.Second
	}
	orders, err := readOrders(c.File)
	if err != nil {
		return err
	}
	const connections = 256
	transport := &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	l := loadgen.Load{
		Client: client.Client{Base: c.API, HTTP: &http.Client{Timeout: c.Wait, Transport: transport}, Header: c.header()},
		Rate:   c.Rate, Concurrency: c.Concurrency, Orders: c.Orders, Duration: c.Duration, Patience: c.Patience,
		Mix: c.Mix, From: orders, SKUs: c.SKU, Seed: c.Seed,
		Progress: func(r loadgen.Report) { _, _ = fmt.Fprintln(e.err, r.Line()) }, // it is for looking at
	}
	if isTerminal(e.err) {
		l.Progress = func(r loadgen.Report) { _, _ = fmt.Fprintf(e.err, "\r%s\x1b[K", r.Line()) } // likewise, in one line
		defer func() { _, _ = fmt.Fprintln(e.err) }()
	}
	// Who asks wrongly is told before anything is placed.
	if err := c.call(e, http.MethodGet, "/v1/whoami", nil, nil); err != nil {
		return err
	}
	report, err := l.Run(e.ctx)
	if report.Sent == 0 {
		return err
	}
	if c.Output == "json" {
		err = errors.Join(err, printJSON(e.out, report))
	} else {
		err = errors.Join(err, report.Text(e.out))
	}
	if n := len(report.Unexpected); err == nil && n > 0 {
		err = fmt.Errorf("%d kinds of order did not become what they should: %v", n, report.Unexpected)
	}
	return err
}
