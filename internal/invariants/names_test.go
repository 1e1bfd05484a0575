package invariants_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/invariants"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestDocumentDefinesEveryInvariant compares docs/invariants.md with the names under which
// violations are reported.
func TestDocumentDefinesEveryInvariant(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testkit.Root(t), "docs", "invariants.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	for _, name := range append(invariants.Names(), invariants.NoTokenKept) {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("%s does not define %q, want every invariant defined", path, name)
		}
	}
}
