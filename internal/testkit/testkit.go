// Package testkit has the helpers that tests of several packages share: a local AWS endpoint, a
// complete system, third-party servers and a collector of traces. Package require has the
// assertions; it imports nothing of this module.
package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit/images"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// RequireTool returns the path of a program on the PATH, of any version. If the program is not
// installed it skips the test with howToGet as the reason. With CI=true it fails the test,
// because a test that CI skips would never run.
func RequireTool(t testing.TB, name, howToGet string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		SkipOrFail(t, name+" is not installed: "+howToGet)
	}
	return path
}

// Pinned is RequireTool for a program that `make TARGET` builds or downloads into the
// repository's bin/, at the version that tools/ pins. program is its path in bin/. A program of
// the same name on the PATH is not used, because it may have another version.
func Pinned(t testing.TB, program, target string) string {
	t.Helper()
	path := filepath.Join(Root(t), "bin", program)
	if _, err := os.Stat(path); err != nil {
		SkipOrFail(t, "bin/"+program+" does not exist: run `make "+target+"`")
	}
	return path
}

// Root returns the root of the checkout.
func Root(t testing.TB) string {
	t.Helper()
	root, err := images.Root()
	require.NoError(t, err)
	return root
}

// UseBuiltDapr makes tests use only Dapr's programs in bin/, which `make dapr` builds, unless
// ORDERSAGA_DAPR_BIN is set. Call it in TestMain.
func UseBuiltDapr() {
	const env = "ORDERSAGA_DAPR_BIN"
	if os.Getenv(env) != "" {
		return
	}
	root, err := images.Root()
	if err == nil {
		err = os.Setenv(env, filepath.Join(root, "bin"))
	}
	if err != nil {
		panic(err)
	}
}

// RequireDapr is Pinned for Dapr's programs.
func RequireDapr(t testing.TB) {
	t.Helper()
	if _, err := daprlocal.Find(); err != nil {
		SkipOrFail(t, err.Error()+": "+howToGetDapr)
	}
}

// RequireSentry is RequireDapr, and also requires Dapr's certificate authority, sentry.
func RequireSentry(t testing.TB) {
	t.Helper()
	RequireDapr(t)
	if _, err := daprlocal.FindOne(daprlocal.Sentry); err != nil {
		SkipOrFail(t, err.Error()+": "+howToGetDapr)
	}
}

const howToGetDapr = "`make dapr` builds it into bin/"

// SkipOrFail skips the test for a reason. With CI=true it fails the test.
func SkipOrFail(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("with CI=true every test must run: " + why)
	}
	t.Skip(why)
}
