package testkit

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestMain makes this program act as a server if it is run under the server's name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "moto_server" {
		os.Exit(m.Run())
	}
	_, err := net.Listen("tcp", "127.0.0.1:"+os.Args[len(os.Args)-1])
	fmt.Println("listens:", err)
	select {}
}

// TestOnlyPinnedProgramsAreUsed checks that programs in bin/ are used, and that programs of the
// same name on the PATH never are.
func TestOnlyPinnedProgramsAreUsed(t *testing.T) {
	checkout, elsewhere := t.TempDir(), t.TempDir()
	here := filepath.Join(checkout, "internal", "some")
	makeAll(t, here, filepath.Join(checkout, "deploy", "docker"))
	require.NoError(t, os.WriteFile(filepath.Join(checkout, "deploy", "docker", "Dockerfile"), nil, 0o600))
	for _, name := range []string{"moto_server", "helm", "daprd", "placement", "scheduler", "sentry"} {
		install(t, filepath.Join(elsewhere, name))
	}
	t.Chdir(here)
	t.Setenv("PATH", elsewhere+":"+os.Getenv("PATH"))
	t.Setenv("ORDERSAGA_DAPR_BIN", "")
	t.Setenv("CI", "true")
	UseBuiltDapr()

	for want, need := range map[string]func(testing.TB){
		"bin/moto/bin/moto_server does not exist: run `make moto`": func(t testing.TB) { Moto(t) },
		"bin/helm does not exist: run `make helm`":                 func(t testing.TB) { Pinned(t, "helm", "helm") },
		"no program daprd in it: `make dapr`":                      RequireDapr,
	} {
		if reason := failureOf(t, need); !strings.Contains(reason, want) {
			t.Errorf("failure = %q, want one with %q", reason, want)
		}
	}

	pinned := filepath.Join(checkout, "bin", "moto", "bin", "moto_server")
	install(t, pinned)
	if got := Moto(t).cmd.Path; got != pinned {
		t.Errorf("program that Moto started = %s, want %s", got, pinned)
	}
	for _, name := range []string{"daprd", "placement", "scheduler"} {
		install(t, filepath.Join(checkout, "bin", name))
	}
	got, err := daprlocal.Find()
	if want := filepath.Join(checkout, "bin", "daprd"); err != nil || got.Daprd != want {
		t.Errorf("daprd = %s (error %v), want %s", got.Daprd, err, want)
	}
	if reason, want := failureOf(t, RequireSentry), "no program sentry in it: `make dapr`"; !strings.Contains(reason, want) {
		t.Errorf("failure = %q, want one with %q", reason, want)
	}
}

// install links this program under a name.
func install(t *testing.T, path string) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	makeAll(t, filepath.Dir(path))
	require.NoError(t, os.Symlink(program, path))
}

func makeAll(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		require.NoError(t, os.MkdirAll(dir, 0o700))
	}
}

// failureOf returns the reason with which need fails a test in CI, or "".
func failureOf(t *testing.T, need func(testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // Fatal exits the goroutine
		defer close(done)
		need(r)
	}()
	<-done
	return r.reason
}

type recorder struct {
	testing.TB
	reason string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatal(what ...any) {
	r.reason = fmt.Sprint(what...)
	runtime.Goexit()
}
