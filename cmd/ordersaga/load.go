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

// readOrders reads the OrderPlaced events of all files.
func readOrders(files []string) ([]order.Order, error) {
	var all []order.Order
	for _, name := range files {
		orders, err := readOrderFile(name)
		if err != nil {
			return nil, fmt.Errorf("read orders from %s: %w", name, err)
		}
		all = append(all, orders...)
	}
	if len(files) > 0 && len(all) == 0 {
		return nil, fmt.Errorf("read orders from %v: the files have no orders", files)
	}
	return all, nil
}

// readOrderFile reads JSON documents that follow each other.
func readOrderFile(name string) (orders []order.Order, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	dec := json.NewDecoder(f)
	for n := 1; ; n++ {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return orders, nil
		}
		if err != nil {
			return nil, fmt.Errorf("order %d: %w", n, err)
		}
		o, err := order.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("order %d: %w", n, err)
		}
		orders = append(orders, o)
	}
}

// loadCmd generates load through the API.
type loadCmd struct {
	apiFlags

	Rate        float64        `placeholder:"N" help:"Open loop: place N orders per second, on schedule, whatever happens to earlier ones."`
	Concurrency int            `placeholder:"N" help:"Closed loop: keep N orders in progress; place the next one when one ends."`
	Orders      int            `placeholder:"N" help:"Stop after N orders."`
	Duration    time.Duration  `placeholder:"DURATION" help:"Stop after this time. Default: 10s, unless --orders is set."`
	Patience    time.Duration  `default:"1m" env:"ORDERSAGA_LOAD_PATIENCE" help:"How long to wait at the end for sagas that have not ended."`
	Mix         map[string]int `default:"ok=90;twice=2;flaky=2;declined=3;short=2;refused=1" help:"${mix_help}"`
	File        []string       `placeholder:"FILE" help:"${file_help}"`
	SKU         []string       `name:"sku" env:"ORDERSAGA_LOAD_SKU" default:"${load_skus}" help:"SKUs to order."`
	Seed        uint64         `default:"1" help:"Random seed of the mix."`
}

func (c loadCmd) Run(e env) error {
	if (c.Rate > 0) == (c.Concurrency > 0) || c.Rate < 0 || c.Concurrency < 0 {
		return errors.New("give either --rate (orders per second) or --concurrency (orders in progress), greater than 0")
	}
	if c.Orders < 0 || c.Duration < 0 {
		return errors.New("--orders and --duration must not be negative")
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
	g := loadgen.Generator{
		Client: client.Client{Base: c.API, HTTP: &http.Client{Timeout: c.Timeout, Transport: transport}, Header: c.header()},
		Rate:   c.Rate, Concurrency: c.Concurrency, Orders: c.Orders, Duration: c.Duration, Patience: c.Patience,
		Mix: c.Mix, Templates: orders, SKUs: c.SKU, Seed: c.Seed,
		Progress: func(r loadgen.Report) { _, _ = fmt.Fprintln(e.err, r.Line()) }, // progress only
	}
	if isTerminal(e.err) {
		g.Progress = func(r loadgen.Report) { _, _ = fmt.Fprintf(e.err, "\r%s\x1b[K", r.Line()) } // progress only, on one line
		defer func() { _, _ = fmt.Fprintln(e.err) }()
	}
	// A wrong address or token is an error before the first order is placed.
	if err := c.call(e, http.MethodGet, "/v1/whoami", nil, nil); err != nil {
		return err
	}
	report, err := g.Run(e.ctx)
	if report.Sent == 0 {
		return err
	}
	if c.Output == "json" {
		err = errors.Join(err, printJSON(e.out, report))
	} else {
		err = errors.Join(err, report.Text(e.out))
	}
	if n := len(report.Unexpected); err == nil && n > 0 {
		err = fmt.Errorf("%d kinds of orders had unexpected outcomes: %v", n, report.Unexpected)
	}
	return err
}
