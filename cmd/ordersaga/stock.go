package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ordersaga/ordersaga/api"
	"github.com/ordersaga/ordersaga/api/client"
	"github.com/ordersaga/ordersaga/internal/backoff"
)

// stockCmd reads and counts stock through the API.
type stockCmd struct {
	List stockListCmd `cmd:"" help:"List the stock of all SKUs."`
	Get  stockGetCmd  `cmd:"" help:"Show the stock of one SKU."`
	Set  stockSetCmd  `cmd:"" help:"Record a stock count of a SKU: the units on hand, including reserved ones."`
}

func (f apiFlags) writeLevels(e env, v any, levels ...api.Level) error {
	rows := make([][]string, len(levels))
	for i, l := range levels {
		rows[i] = []string{l.SKU}
		for _, units := range []int64{l.Received, l.Available, l.Reserved, l.Sold} {
			rows[i] = append(rows[i], strconv.FormatInt(units, 10))
		}
	}
	return f.write(e, v, "SKU RECEIVED AVAILABLE RESERVED SOLD", rows)
}

type stockListCmd struct{ apiFlags }

func (c stockListCmd) Run(e env) error {
	all := []api.Level{}
	q := url.Values{"limit": {"1000"}}
	for {
		var page struct {
			Stock []api.Level
			Next  string
		}
		if err := c.call(e, http.MethodGet, "/v1/stock?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		all = append(all, page.Stock...)
		if page.Next == "" {
			return c.writeLevels(e, all, all...)
		}
		q.Set("cursor", page.Next)
	}
}

type stockGetCmd struct {
	apiFlags

	SKU string `arg:"" help:"SKU."`
}

func (c stockGetCmd) Run(e env) error {
	var l api.Level
	if err := c.call(e, http.MethodGet, c.path(), nil, &l); err != nil {
		return err
	}
	return c.writeLevels(e, l, l)
}

func (c stockGetCmd) path() string { return "/v1/stock/" + url.PathEscape(c.SKU) }

type stockSetCmd struct {
	stockGetCmd

	OnHand  int64   `arg:"" help:"Counted units on hand, including those reserved for orders."`
	Version *string `name:"if-version" placeholder:"VERSION" help:"Version of the stock level that was counted, from stock get -o json; none for a new SKU. Default: the current version."`
}

// noLevel is the version of a SKU that has no level yet.
const noLevel = "none"

// countedVersion returns the version that the count is for.
func (c stockSetCmd) countedVersion(e env) (string, error) {
	if c.Version == nil {
		var l api.Level
		err := c.call(e, http.MethodGet, c.path(), nil, &l)
		if err != nil && !client.IsNotFound(err) {
			return "", err
		}
		return cmp.Or(l.Version, noLevel), nil
	}
	if *c.Version == "" { // such as a script's variable that is not set
		return "", errors.New("--if-version must not be empty: give the version that was counted, " + noLevel +
			" for a new SKU, or omit the flag")
	}
	return *c.Version, nil
}

// Run retries the count against the same version if the API does not answer,
// because a count is recorded at most once per version.
func (c stockSetCmd) Run(e env) error {
	const attempts = 3
	counted, err := c.countedVersion(e)
	if err != nil {
		return err
	}
	version := counted
	if version == noLevel {
		version = ""
	}
	conditional := c.client().On(version)
	var l api.Level
	for attempt := range attempts {
		err = backoff.Sleep(e.ctx, time.Duration(attempt)*time.Second)
		if err != nil {
			return err
		}
		err = conditional.Call(e.ctx, http.MethodPut, c.path(), map[string]int64{"onHand": c.OnHand}, &l)
		if err == nil {
			return c.writeLevels(e, l, l)
		}
		problem, ok := errors.AsType[*client.Problem](err)
		if ok && problem.Status < http.StatusInternalServerError {
			return err
		}
	}
	return fmt.Errorf("%w; the count may have been recorded: repeat with --if-version %s, which records it at most once", err, counted)
}
