package components_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/components"
)

// TestWriteLocalWritesTheAddress: the state store's file contains the address
// unchanged, for programs without the sidecars' environment.
func TestWriteLocalWritesTheAddress(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"sqlite", "redis", "postgresql"} {
		for _, address := range []string{
			"/data/state.db", "127.0.0.1:6379", "postgres://u:p%40ss@host:5432/db?sslmode=disable", `host=h user='it''s' password="a: b #c"`,
			`C:\data\state.db`, "- a", "{a: [b]}", "&a *b !c", "true", "12", " spaces ", "%", "Käse \U0001F9C0",
			"line\nline\ttab\x7f\u2028", "payment: # app id", strings.Repeat("long ", 200),
		} {
			dir := filepath.Join(t.TempDir(), "components")
			if err := components.WriteLocal(dir, store, address, "payment-1"); err != nil {
				t.Fatalf("WriteLocal(%s, %q): %v", store, address, err)
			}
			file := filepath.Join(dir, "statestore.yaml")
			if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), "envRef") {
				t.Errorf("%s with address %q: error %v, want no envRef in\n%s", store, address, err, b)
			}
			var c component
			read(t, file, &c)
			if got := c.Spec.Metadata[0]; got.Value != address || got.Name != "connectionString" && got.Name != "redisHost" {
				t.Errorf("%s: %s = %q, want %q", store, got.Name, got.Value, address)
			}
			for of, want := range map[string]os.FileMode{file: 0o600, dir: 0o750 | os.ModeDir} {
				if at, err := os.Stat(of); err != nil || at.Mode() != want {
					t.Errorf("%s: mode = %s, want %s (error %v)", of, at.Mode(), want, err)
				}
			}
		}
	}
	err := components.WriteLocal(t.TempDir(), "sqlite", "\xff", "payment")
	if want := "address of the state store: yaml: cannot marshal invalid UTF-8"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("WriteLocal with an invalid address: error = %v, want %q", err, want)
	}
}
