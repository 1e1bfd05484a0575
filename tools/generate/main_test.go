package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCopiesAreCurrent fails when a source was changed without make generate,
// or a generated file was edited or has lost its source.
func TestCopiesAreCurrent(t *testing.T) {
	t.Parallel()
	stale, err := staleFiles(filepath.Join("..", ".."))
	if err != nil {
		t.Fatalf("compare the copies with their sources: %v", err)
	}
	if len(stale) > 0 {
		t.Errorf("stale generated files: %s, want none; run make generate", strings.Join(names(stale), " "))
	}
}

// TestStaleFilesAreFound changes a copy of the repository's files: an edited
// copy, a missing copy and a file without a source are all stale.
func TestStaleFilesAreFound(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, folder := range []string{"components/aws", "components/local", "components/state", "deploy"} {
		err := os.CopyFS(filepath.Join(root, folder), os.DirFS(filepath.Join("..", "..", folder)))
		if err != nil {
			t.Fatalf("copy %s: %v", folder, err)
		}
	}
	at := func(name string) string { return filepath.Join(root, filepath.FromSlash(name)) }
	edited, extra := "deploy/components/resiliency.yaml", "deploy/components/old.yaml"
	missing := "deploy/helm/ordersaga/files/dapr/redis/statestore.yaml"
	for _, name := range []string{edited, extra} {
		err := os.WriteFile(at(name), []byte("kind: Resiliency\n"), 0o600)
		if err != nil {
			t.Fatalf("write %s: %v", name, err)
		}
	}
	err := os.Remove(at(missing))
	if err != nil {
		t.Fatalf("remove %s: %v", missing, err)
	}
	stale, err := staleFiles(root)
	if err != nil {
		t.Fatalf("compare the copies with their sources: %v", err)
	}
	if got, want := names(stale), []string{extra, edited, missing}; !slices.Equal(got, want) {
		t.Errorf("stale files = %v, want %v", got, want)
	}
	if stale[extra] != nil {
		t.Errorf("generated content of %s = %q, want none", extra, stale[extra])
	}
}
