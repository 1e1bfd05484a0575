// Package testkit holds what tests of several packages share.
package testkit

import (
	"os"
	"os/exec"
	"testing"
)

// NeedTool gives the path of a program that a test drives. Without it the test
// is skipped with the way to get it; with CI=true it fails, because there a
// skipped test is one that nobody runs.
func NeedTool(t testing.TB, name, howToGet string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed: %s", name, howToGet)
	}
	t.Skipf("%s is not installed: %s", name, howToGet)
	return ""
}
