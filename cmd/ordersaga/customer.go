package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ordersaga/ordersaga/api"
)

type customerCmd struct {
	Forget customerForgetCmd `cmd:"" help:"Erase name, address and customer id from a customer's orders that have ended. It cannot be taken back."`
}

type customerForgetCmd struct {
	remote
	said

	ID string `arg:"" help:"The customer's id."`
}

// Run says what was erased. It is an error if something is left: a script must
// not take it for done.
func (c customerForgetCmd) Run(e env) error {
	var out api.Forgotten
	if err := c.call(e, http.MethodPost, "/v1/customers/"+url.PathEscape(c.ID)+"/forget", c.body(), &out); err != nil {
		return err
	}
	if c.Output == "json" {
		if err := printJSON(e.out, out); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(e.out, "%d orders erased, %d dead letters deleted, %d orders open\n", out.Erased, out.Letters, len(out.Open)); err != nil {
		return err
	}
	switch {
	case len(out.Open) > 0:
		return fmt.Errorf("not erased, for they have not ended: %s; repeat this when they have", strings.Join(out.Open, ", "))
	case !out.Complete:
		return errors.New("there was no time for all of them; repeat this")
	}
	return nil
}
