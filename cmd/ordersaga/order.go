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

// orderCmd works on orders without a system.
type orderCmd struct {
	Convert orderConvertCmd `cmd:"" help:"Turn a shop's order into an OrderPlaced event, on standard output."`
}

type orderConvertCmd struct {
	From         string       `required:"" enum:"shopify,woocommerce,commercetools,cloudevents" help:"Whose order it is: ${enum}."`
	PaymentToken string       `help:"The payment provider's token, where the shop's order has none."`
	CustomerID   string       `name:"customer-id" help:"Of a guest, who has none in the shop."`
	SKU          []skuMapping `name:"sku" sep:"none" placeholder:"THEIRS=OURS" help:"Our SKU for one of the shop's that has other characters than ours may have."`
	LeaveOut     []string     `placeholder:"FIELD" help:"Do without this field, such as line_items[].properties, although it could change what is shipped."`
	Output       string       `short:"o" default:"table" enum:"table,json" help:"table writes the event in a line, and notes on standard error; json writes the order and the notes in one document."`
	File         string       `arg:"" default:"-" help:"One order in the shop's JSON; - is standard input."`
}

// skuMapping is THEIRS=OURS. Theirs may have a = in it, ours cannot.
type skuMapping struct{ theirs, ours string }

// UnmarshalText makes one of a flag's value.
func (m *skuMapping) UnmarshalText(text []byte) error {
	s := string(text)
	i := strings.LastIndexByte(s, '=')
	if i < 1 || !order.ValidID(s[i+1:]) {
		return fmt.Errorf("%.200q must be THEIRS=OURS, where the shop's SKU is not empty, and ours %s", s, order.IDRule)
	}
	*m = skuMapping{s[:i], s[i+1:]}
	return nil
}

// skus are ours by the shop's.
func (c orderConvertCmd) skus() (map[string]string, error) {
	all := make(map[string]string, len(c.SKU))
	for _, m := range c.SKU {
		ours, twice := all[m.theirs]
		if twice && ours != m.ours {
			return nil, fmt.Errorf("convert %s: --sku gives %.100q as %s and as %s; give one of them", c.File, m.theirs, ours, m.ours)
		}
		all[m.theirs] = m.ours
	}
	return all, nil
}

// converted is the answer in JSON.
type converted struct {
	Order *order.Order    `json:"order"` // null if it is refused
	Notes []importer.Note `json:"notes"`
}

func (c orderConvertCmd) Run(e env) error {
	skus, err := c.skus()
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
	refused, is := errors.AsType[*importer.RefusedError](err)
	if err != nil && !is {
		return fmt.Errorf("convert %s: %w", c.File, err)
	}
	if c.Output == "json" {
		answer := converted{Notes: append([]importer.Note{}, notes...)}
		if refused == nil {
			answer.Order = &o
		}
		err = printJSON(e.out, answer)
	} else {
		for _, n := range notes {
			what := "note"
			if n.Refused {
				what = "REFUSED"
			}
			_, _ = fmt.Fprintf(e.err, "%s: %s\n", what, n) // the status tells too
		}
		err = nil
		if refused == nil {
			err = c.write(e, o)
		}
	}
	if err == nil && refused != nil {
		err = fmt.Errorf("convert %s: %d fields are in the way; there is no order", c.File, len(refused.Notes))
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
		if in, err = os.Open(c.File); err != nil {
			return nil, fmt.Errorf("read the shop's order: %w", err)
		}
		defer func() { err = errors.Join(err, in.Close()) }()
	}
	if raw, err = io.ReadAll(io.LimitReader(in, importer.MaxBytes+1)); err != nil {
		return nil, fmt.Errorf("read the shop's order from %s: %w", c.File, err)
	}
	return raw, nil
}
