package daprlocal_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestFindLooksOnlyInTheGivenFolder: with ORDERSAGA_DAPR_BIN no other place counts,
// even if it has all programs.
func TestFindLooksOnlyInTheGivenFolder(t *testing.T) {
	elsewhere, given := t.TempDir(), filepath.Join(t.TempDir(), "bin")
	programs(t, elsewhere, "daprd", daprlocal.Placement, daprlocal.Scheduler)
	t.Setenv("PATH", elsewhere)
	t.Setenv("HOME", elsewhere)
	t.Setenv("ORDERSAGA_DAPR_BIN", given)
	for _, name := range []string{"daprd", daprlocal.Placement, daprlocal.Scheduler} {
		want := "ORDERSAGA_DAPR_BIN is " + given + ", and there is no program " + name + " in it"
		for range 10 {
			if _, err := daprlocal.Find(); err == nil || err.Error() != want {
				t.Fatalf("Find = %v, want %s", err, want)
			}
		}
		programs(t, given, name)
	}
	if b, err := daprlocal.Find(); err != nil || b.Daprd != filepath.Join(given, "daprd") {
		t.Errorf("Find = %+v, %v, want the given folder", b, err)
	}
	t.Setenv("ORDERSAGA_DAPR_BIN", "")
	if b, err := daprlocal.Find(); err != nil || b.Daprd != filepath.Join(elsewhere, "daprd") {
		t.Errorf("Find without ORDERSAGA_DAPR_BIN = %+v, %v, want the PATH", b, err)
	}
}

// programs creates links to this test's own binary in a folder.
func programs(t *testing.T, dir string, names ...string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	self, err := os.Executable()
	require.NoError(t, err)
	for _, name := range names {
		require.NoError(t, os.Symlink(self, filepath.Join(dir, name)))
	}
}
