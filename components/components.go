// Package components embeds the Dapr components for one machine, so that the
// binary needs no other files.
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

// WriteLocal writes the components for one machine into the folder dir, which it
// creates. State is the state store: sqlite, redis or postgresql. Payment is the app
// id of the payment provider. Address is the address of the state store. It is
// written to the file for other programs that read the store, such as a dashboard.
// If it is empty, sidecars use the environment variable ORDERSAGA_STATE_ADDRESS.
func WriteLocal(dir, state, address, payment string) error {
	value, err := quoted(address)
	if err != nil {
		return fmt.Errorf("write the address of the state store: %w", err)
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

// quoted returns text as a YAML scalar on one line.
func quoted(text string) ([]byte, error) {
	b, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: text})
	return bytes.TrimSpace(b), err
}
