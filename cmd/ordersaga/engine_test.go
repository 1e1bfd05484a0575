package main

import (
	"context"
	"errors"
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
	if err := os.WriteFile(filepath.Join(data, "engine", "snapshot-0000000000000009.tmp"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	ordersaga(0, fmt.Sprintf("Left behind by a crash during compaction: 1 files, %d bytes", len(b)), "engine", "verify")
}

// TestEngineRepairContinuesWithoutALostArchive: verify and repair name the file.
func TestEngineRepairContinuesWithoutALostArchive(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	dir := filepath.Join(data, "engine")
	if err := os.CopyFS(dir, os.DirFS("../../internal/engine/embedded/testdata/format2")); err != nil {
		t.Fatal(err)
	}
	e, err := embedded.Open(embedded.Options{Dir: dir, Logger: zerolog.Nop()}) // marks that there is an archive
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Close(), os.Remove(filepath.Join(dir, "ended.db"))); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		status        int
		command, want string
	}{
		{1, "verify", "DAMAGED: archive of ended sagas " + filepath.Join(dir, "ended.db") + ": the file is missing or empty"},
		{0, "repair", "Repaired. The original files are in " + dir + ".damaged-"},
		{0, "verify", "14 in progress"},
	} {
		var out strings.Builder
		got := run(t.Context(), []string{"engine", step.command, "--data-dir", data}, &out, &out)
		if got != step.status || !strings.Contains(out.String(), step.want) {
			t.Errorf("engine %s: status %d, want %d and %q:\n%s", step.command, got, step.status, step.want, out.String())
		}
	}
}
