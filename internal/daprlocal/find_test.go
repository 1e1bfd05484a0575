package daprlocal_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
)

// TestFindWhereTold: with ORDERSAGA_DAPR_BIN no other place will do, though
// one has all of it.
func TestFindWhereTold(t *testing.T) {
	elsewhere, told := t.TempDir(), filepath.Join(t.TempDir(), "bin")
	programs(t, elsewhere, "daprd", daprlocal.Placement, daprlocal.Scheduler)
	t.Setenv("PATH", elsewhere)
	t.Setenv("HOME", elsewhere)
	t.Setenv("ORDERSAGA_DAPR_BIN", told)
	for _, name := range []string{"daprd", daprlocal.Placement, daprlocal.Scheduler} {
		want := "ORDERSAGA_DAPR_BIN is " + told + ", and there is no program " + name + " in it"
		for range 10 {
			if _, err := daprlocal.Find(); err == nil || err.Error() != want {
				t.Fatalf("%v, want %s", err, want)
			}
		}
		programs(t, told, name)
	}
	if b, err := daprlocal.Find(); err != nil || b.Daprd != filepath.Join(told, "daprd") {
		t.Error(b, err)
	}
	t.Setenv("ORDERSAGA_DAPR_BIN", "")
	if b, err := daprlocal.Find(); err != nil || b.Daprd != filepath.Join(elsewhere, "daprd") {
		t.Error(b, err)
	}
}

// programs puts links to this test's own binary into a folder.
func programs(t *testing.T, dir string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}
