// Package testkit holds what tests of several packages share.
package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
)

// NeedTool gives the path of a program that a test drives. Without it the test
// is skipped with the way to get it; with CI=true it fails, because there a
// skipped test is one that nobody runs.
func NeedTool(t testing.TB, name, howToGet string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		LeaveOut(t, name+" is not installed: "+howToGet)
	}
	return path
}

// UseBuiltDapr lets tests find Dapr's programs in the module's bin, where `make
// dapr` puts them, if they are there and nobody has named others. It is for
// TestMain.
func UseBuiltDapr() {
	const named = "ORDERSAGA_DAPR_BIN"
	dir, err := os.Getwd()
	for err == nil && os.Getenv(named) == "" {
		bin := filepath.Join(dir, "bin")
		if _, missing := os.Stat(filepath.Join(bin, "daprd")); missing == nil {
			err = os.Setenv(named, bin)
		}
		_, above := os.Stat(filepath.Join(dir, "go.mod"))
		if above == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	if err != nil {
		panic(err)
	}
}

// NeedDapr is NeedTool for Dapr's programs.
func NeedDapr(t testing.TB) {
	t.Helper()
	if _, err := daprlocal.Find(); err != nil {
		LeaveOut(t, err.Error())
	}
}

// NeedSentry is NeedDapr with its certificate authority.
func NeedSentry(t testing.TB) {
	t.Helper()
	NeedDapr(t)
	if _, err := daprlocal.FindOne(daprlocal.Sentry); err != nil {
		LeaveOut(t, err.Error())
	}
}

// LeaveOut skips a test with the reason, and fails it with CI=true.
func LeaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
