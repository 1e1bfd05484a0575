// Package testkit holds what tests of several packages share.
package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit/images"
)

// NeedTool gives the path of a program of this machine that a test drives, of
// whatever version is on the PATH. Without it the test is skipped with the way
// to get it; with CI=true it fails, because there a skipped test is one that
// nobody runs.
func NeedTool(t testing.TB, name, howToGet string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		LeaveOut(t, name+" is not installed: "+howToGet)
	}
	return path
}

// Pinned is NeedTool for what `make TARGET` puts into the repository's bin/, at
// the version that tools/ pins: program is its path there. One of the same name
// on the PATH does not count, for it may be of any version.
func Pinned(t testing.TB, program, target string) string {
	t.Helper()
	path := filepath.Join(Root(t), "bin", program)
	if _, err := os.Stat(path); err != nil {
		LeaveOut(t, "bin/"+program+" is not there: `make "+target+"` puts it there")
	}
	return path
}

// Root is the checkout.
func Root(t testing.TB) string {
	t.Helper()
	root, err := images.Root()
	Must(t, err)
	return root
}

// UseBuiltDapr lets tests find Dapr's programs in bin/, where `make dapr` puts
// them, and nowhere else, unless ORDERSAGA_DAPR_BIN names others. It is for
// TestMain.
func UseBuiltDapr() {
	const named = "ORDERSAGA_DAPR_BIN"
	if os.Getenv(named) != "" {
		return
	}
	root, err := images.Root()
	if err == nil {
		err = os.Setenv(named, filepath.Join(root, "bin"))
	}
	if err != nil {
		panic(err)
	}
}

// NeedDapr is Pinned for Dapr's programs.
func NeedDapr(t testing.TB) {
	t.Helper()
	if _, err := daprlocal.Find(); err != nil {
		LeaveOut(t, err.Error()+": "+daprIs)
	}
}

// NeedSentry is NeedDapr with its certificate authority.
func NeedSentry(t testing.TB) {
	t.Helper()
	NeedDapr(t)
	if _, err := daprlocal.FindOne(daprlocal.Sentry); err != nil {
		LeaveOut(t, err.Error()+": "+daprIs)
	}
}

const daprIs = "`make dapr` builds it into bin/"

// LeaveOut skips a test with the reason, and fails it with CI=true.
func LeaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
