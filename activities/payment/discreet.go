package payment

import "strings"

// hide takes the payment token out of what the provider says: a provider may
// quote it, and its words end in the order, in logs, traces and histories.
func hide(said, token string) string {
	if token == "" {
		return said
	}
	return strings.ReplaceAll(said, token, "(token)")
}

// discreetError is an error whose text does not have the token.
type discreetError struct {
	error

	text string
}

func (e *discreetError) Error() string { return e.text }
func (e *discreetError) Unwrap() error { return e.error }

// discreet takes the token out of an error's text.
func discreet(err error, token string) error {
	if err == nil || hide(err.Error(), token) == err.Error() {
		return err
	}
	return &discreetError{err, hide(err.Error(), token)}
}
