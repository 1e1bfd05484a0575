// Package components carries the Dapr components, so that a binary alone can
// run them.
package components

import (
	"bytes"
	"embed"
	"os"
	"path/filepath"
)

//go:embed local/*.yaml state/*.yaml
var files embed.FS

// WriteLocal writes the components for one machine to a folder, with one of
// the state stores (sqlite, redis or postgresql), and for a payment provider
// with the given app id.
func WriteLocal(dir, state, payment string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	entries, err := files.ReadDir("local")
	if err != nil {
		return err
	}
	from := map[string]string{"statestore.yaml": "state/" + state + ".yaml"}
	for _, e := range entries {
		from[e.Name()] = "local/" + e.Name()
	}
	for name, path := range from {
		b, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		b = bytes.ReplaceAll(b, []byte("payment: # app id"), []byte(payment+": # app id"))
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
