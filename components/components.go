// Package components carries the Dapr components, so that a binary alone can
// run them.
package components

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

//go:embed local/*.yaml state/*.yaml
var files embed.FS

// WriteLocal writes the components for one machine to a folder, with one of
// the state stores (sqlite, redis or postgresql) at an address, and for a
// payment provider with the given app id. The address is in the file for other
// programs that read the store, such as a dashboard; "" leaves it to sidecars'
// environment, ORDERSAGA_STATE_ADDRESS.
func WriteLocal(dir, state, address, payment string) error {
	value, err := quoted(address)
	if err != nil {
		return fmt.Errorf("address of the state store: %w", err)
	}
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
		if address != "" {
			b = bytes.ReplaceAll(b, []byte("envRef: ORDERSAGA_STATE_ADDRESS"), append([]byte("value: "), value...))
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// quoted is a text as a YAML scalar of one line.
func quoted(text string) ([]byte, error) {
	b, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: text})
	return bytes.TrimSpace(b), err
}
