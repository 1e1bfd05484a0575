package hostile_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestFaultsFit: each patch of faults.sh can still be applied. `make faults` verifies that a
// seed then fails, which takes ten minutes.
func TestFaultsFit(t *testing.T) {
	t.Parallel()
	git := testkit.RequireTool(t, "git", "apt-get install git")
	patches, err := filepath.Glob("testdata/faults/*.patch")
	require.NoError(t, err)
	if len(patches) == 0 {
		t.Fatal("testdata/faults has no patches, want at least one")
	}
	for _, p := range patches {
		check := exec.CommandContext(t.Context(), git, "apply", "--check", filepath.Join("internal", "hostile", p))
		check.Dir = filepath.Join("..", "..")
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s cannot be applied: %v\n%s", p, err, out)
		}
	}
}
