// Package testkit holds what tests of several packages share.
package testkit

import (
	"os"
	"os/exec"
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
