package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/order"
)

// placed is an order of the load, when it has ended.
type placed struct {
	status order.Status
	took   time.Duration
}

// remote places orders with a running system, through its API, and waits for
// each.
func (c loadCmd) remote(e env) error {
	header := http.Header{}
	if c.Token != "" {
		header.Set("Authorization", "Bearer "+c.Token)
	}
	keep := &http.Transport{MaxIdleConnsPerHost: slices.Max(c.InFlight), Proxy: http.ProxyFromEnvironment}
	defer keep.CloseIdleConnections()
	shop := client.Client{Base: c.API, HTTP: &http.Client{Timeout: 30 * time.Second, Transport: keep}, Header: header}
	if c.Header {
		if _, err := io.WriteString(e.out, "| in flight | orders/s | p50 | p99 | outcomes |\n|--:|--:|--:|--:|---|\n"); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
	}
	failed := 0
	for _, n := range c.InFlight {
		ended := make([]placed, c.Sagas)
		began := time.Now()
		g, ctx := errgroup.WithContext(e.ctx)
		g.SetLimit(n)
		prefix := "load-" + uuid.NewString()[:8]
		for i := range c.Sagas {
			g.Go(func() (err error) {
				ended[i], err = c.place(ctx, shop, fmt.Sprintf("%s-%d", prefix, i))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		rate := float64(c.Sagas) / time.Since(began).Seconds()
		slices.SortFunc(ended, func(a, b placed) int { return int(a.took - b.took) })
		outcomes := map[order.Status]int{}
		for _, p := range ended {
			outcomes[p.status]++
		}
		failed += c.Sagas - outcomes[order.StatusCompleted]
		at := func(share float64) time.Duration {
			return ended[int(share*float64(len(ended)-1))].took.Round(time.Millisecond)
		}
		_, err := fmt.Fprintf(e.out, "| %d | %.1f | %s | %s | %s |\n", n, rate, at(.5), at(.99), strings.Trim(fmt.Sprint(outcomes), "map[]"))
		if err != nil {
			return fmt.Errorf("write result: %w", err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d orders did not complete", failed)
	}
	return nil
}

// place sees one order through. What may be a matter of moments is tried again:
// to place an order twice is to place it once.
func (c loadCmd) place(ctx context.Context, shop client.Client, id string) (placed, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Within)
	defer cancel()
	o := order.Order{
		OrderID: id, CustomerID: "c-load", Currency: "EUR", Payment: order.Payment{Token: c.PaymentToken},
		Lines: []order.Line{{SKU: c.SKU, Quantity: 1, UnitPrice: 100}}, ShipTo: &order.Address{Name: "Load Test", Country: "DE"},
	}
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	accepted := false
	for {
		var saga api.Saga
		var err error
		if !accepted {
			err = shop.Call(ctx, http.MethodPost, "/v1/orders", o, nil)
			accepted = err == nil
		} else {
			err = shop.Call(ctx, http.MethodGet, "/v1/sagas/"+id, nil, &saga)
		}
		if saga.Status.Terminal() || saga.Status == order.StatusNeedsAttention {
			return placed{saga.Status, time.Since(began)}, nil
		}
		if p, refused := errors.AsType[*client.Problem](err); refused && p.Status < 500 && p.Status != http.StatusTooManyRequests {
			return placed{}, fmt.Errorf("load: order %s: %w", id, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return placed{}, fmt.Errorf("load: order %s is %q after %s: %w", id, saga.Status, time.Since(began).Round(time.Second), errors.Join(err, ctx.Err()))
		}
	}
}
