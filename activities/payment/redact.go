package payment

import "strings"

// redact removes the payment token from a text of the provider. A provider may quote it, and
// its texts are stored in the order, in logs, traces and histories.
func redact(s, token string) string {
	if token == "" {
		return s
	}
	return strings.ReplaceAll(s, token, "(token)")
}

// redactedError is an error whose text does not contain the token.
type redactedError struct {
	err  error
	text string
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.err }

// redactError removes the token from an error's text. The result wraps err.
func redactError(err error, token string) error {
	if err == nil || redact(err.Error(), token) == err.Error() {
		return err
	}
	return &redactedError{err: err, text: redact(err.Error(), token)}
}
