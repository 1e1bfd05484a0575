package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ordersaga/ordersaga/internal/importer"
	"github.com/ordersaga/ordersaga/internal/order"
)

// orderCmd converts orders. It needs no running system.
type orderCmd struct {
	Convert orderConvertCmd `cmd:"" help:"Convert an order of another shop system to an OrderPlaced event on standard output."`
}

type orderConvertCmd struct {
	From         string       `required:"" enum:"shopify,woocommerce,commercetools,cloudevents" placeholder:"SHOP" help:"Shop system of the order: ${enum}."`
	PaymentToken string       `placeholder:"TOKEN" help:"Token of the payment provider, if the shop's order has none."`
	CustomerID   string       `name:"customer-id" placeholder:"ID" help:"Customer id, if the order is a guest's and has none."`
	SKU          []skuMapping `name:"sku" sep:"none" placeholder:"THEIRS=OURS" env:"ORDERSAGA_CONVERT_SKU" help:"${convert_sku_help}"`
	LeaveOut     []string     `placeholder:"FIELD" help:"Ignore this field, such as line_items[].properties, even if it may change what is shipped."`
	Output       string       `short:"o" default:"table" enum:"table,json" help:"table: the event on one line, notes on standard error. json: order and notes in one document."`
	File         string       `arg:"" default:"-" help:"File with one order in the shop's JSON. -: standard input."`
}

// skuMapping is THEIRS=OURS. Theirs may contain =, ours cannot.
type skuMapping struct{ theirs, ours string }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *skuMapping) UnmarshalText(text []byte) error {
	s := string(text)
	i := strings.LastIndexByte(s, '=')
	if i < 1 || !order.ValidID(s[i+1:]) {
		return fmt.Errorf("%.200q must be THEIRS=OURS: the shop's SKU must not be empty, and ours %s", s, order.IDRule)
	}
	*m = skuMapping{theirs: s[:i], ours: s[i+1:]}
	return nil
}

// skuMap returns our SKU for each of the shop's.
func (c orderConvertCmd) skuMap() (map[string]string, error) {
	all := make(map[string]string, len(c.SKU))
	for _, m := range c.SKU {
		ours, exists := all[m.theirs]
		if exists && ours != m.ours {
			return nil, fmt.Errorf("convert %s: --sku maps %.100q to both %s and %s; give one of them", c.File, m.theirs, ours, m.ours)
		}
		all[m.theirs] = m.ours
	}
	return all, nil
}

// conversion is the output in JSON.
type conversion struct {
	Order *order.Order    `json:"order"` // null if the order was rejected
	Notes []importer.Note `json:"notes"`
}

func (c orderConvertCmd) Run(e env) error {
	skus, err := c.skuMap()
	if err != nil {
		return err
	}
	raw, err := c.read()
	if err != nil {
		return err
	}
	o, notes, err := importer.Convert(c.From, raw, importer.Options{
		PaymentToken: c.PaymentToken, CustomerID: c.CustomerID, SKUs: skus, LeaveOut: c.LeaveOut,
	})
	refused, isRefused := errors.AsType[*importer.RefusedError](err)
	if err != nil && !isRefused {
		return fmt.Errorf("convert %s: %w", c.File, err)
	}
	if c.Output == "json" {
		out := conversion{Notes: append([]importer.Note{}, notes...)}
		if refused == nil {
			out.Order = &o
		}
		err = printJSON(e.out, out)
	} else {
		for _, n := range notes {
			kind := "note"
			if n.Refused {
				kind = "REFUSED"
			}
			_, _ = fmt.Fprintf(e.err, "%s: %s\n", kind, n) // the exit status reports it too
		}
		err = nil
		if refused == nil {
			err = c.write(e, o)
		}
	}
	if err == nil && refused != nil {
		err = fmt.Errorf("convert %s: no order was written, because of the fields marked REFUSED", c.File)
	}
	return err
}

func (c orderConvertCmd) write(e env, o order.Order) error {
	b, err := importer.Encode(o)
	if err == nil {
		_, err = e.out.Write(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write order: %w", err)
	}
	return nil
}

func (c orderConvertCmd) read() (raw []byte, err error) {
	in := os.Stdin
	if c.File != "-" {
		in, err = os.Open(c.File)
		if err != nil {
			return nil, fmt.Errorf("read the shop's order: %w", err)
		}
		defer func() { err = errors.Join(err, in.Close()) }()
	}
	raw, err = io.ReadAll(io.LimitReader(in, importer.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the shop's order from %s: %w", c.File, err)
	}
	return raw, nil
}
