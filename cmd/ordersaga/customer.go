package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ordersaga/ordersaga/api"
)

// customerCmd erases personal data through the API.
type customerCmd struct {
	Forget customerForgetCmd `cmd:"" help:"Erase name, address and customer id from a customer's ended orders. This cannot be undone."`
}

type customerForgetCmd struct {
	apiFlags
	noteFlags

	ID string `arg:"" help:"Customer id."`
}

// Run prints what was erased. It returns an error if anything is left, so that a
// script does not treat it as done.
func (c customerForgetCmd) Run(e env) error {
	var out api.Forgotten
	if err := c.call(e, http.MethodPost, "/v1/customers/"+url.PathEscape(c.ID)+"/forget", c.body(), &out); err != nil {
		return err
	}
	if err := c.print(e, out); err != nil {
		return err
	}
	switch {
	case len(out.Open) > 0:
		return fmt.Errorf("orders that have not ended were not erased: %s; repeat the command when they have ended", strings.Join(out.Open, ", "))
	case !out.Complete:
		return errors.New("the time limit was reached before all orders were erased; repeat the command")
	}
	return nil
}

func (c customerForgetCmd) print(e env, out api.Forgotten) error {
	if c.Output == "json" {
		return printJSON(e.out, out)
	}
	_, err := fmt.Fprintf(e.out, "erased %d orders, deleted %d dead letters, %d orders still open\n",
		out.Erased, out.Letters, len(out.Open))
	return err
}
