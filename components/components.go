// Package components carries the Dapr components, so that a binary alone can
// run them.
package components

import (
	"embed"
	"os"
	"path/filepath"
)

//go:embed local/*.yaml
var files embed.FS

// WriteLocal writes the components for one machine to a folder.
func WriteLocal(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	entries, err := files.ReadDir("local")
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := files.ReadFile("local/" + e.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
