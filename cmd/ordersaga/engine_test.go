package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine/embedded"
)

func TestEngineVerifyAndRepair(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	ordersaga := func(status int, want string, args ...string) {
		t.Helper()
		var out strings.Builder
		got := run(t.Context(), append(args, "--data-dir", data), &out, &out)
		if got != status || !strings.Contains(out.String(), want) {
			t.Errorf("%v: status %d, want %d and %q:\n%s", args, got, status, want, out.String())
		}
	}
	ordersaga(1, "no state of an embedded engine", "engine", "verify")

	e, err := embedded.Open(embedded.Options{Dir: filepath.Join(data, "engine"), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"o-1", "o-2", "o-3"} {
		if err := e.Start(context.Background(), "OrderSaga", id, nil); err != nil {
			t.Fatal(err)
		}
	}
	ordersaga(1, "in use by another process (pid ", "engine", "verify")
	ordersaga(1, "in use by another process (pid ", "engine", "repair")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	ordersaga(0, "3 in progress", "engine", "verify")
	ordersaga(0, "Nothing to repair", "engine", "repair")

	log := filepath.Join(data, "engine", "log-0000000000000001")
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	b[strings.Index(string(b), "o-2")+20] ^= 1
	if err := os.WriteFile(log, b, 0o600); err != nil {
		t.Fatal(err)
	}
	ordersaga(1, "DAMAGED: log-0000000000000001", "engine", "verify")
	ordersaga(1, fmt.Sprintf("it needs up to %d bytes of free disk space", 2*len(b)), "engine", "verify")
	ordersaga(0, "Lost sagas: 1\n  o-2\n", "engine", "repair")
	ordersaga(0, "2 in progress", "engine", "verify")
}
