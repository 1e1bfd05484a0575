package hostile_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestFaultsFit: each patch of faults.sh can still be applied. That a seed fails
// then takes ten minutes, and is for `make faults`.
func TestFaultsFit(t *testing.T) {
	git := testkit.RequireTool(t, "git", "apt-get install git")
	patches, err := filepath.Glob("testdata/faults/*.patch")
	require.NoError(t, err)
	if len(patches) == 0 {
		t.Fatal("there are none")
	}
	for _, p := range patches {
		check := exec.CommandContext(t.Context(), git, "apply", "--check", filepath.Join("internal", "hostile", p))
		check.Dir = filepath.Join("..", "..")
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s does not fit any more: %v\n%s", p, err, out)
		}
	}
}
