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
)

// TestMain also is the servers of the tests: this program under their names.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "moto_server" {
		os.Exit(m.Run())
	}
	_, err := net.Listen("tcp", "127.0.0.1:"+os.Args[len(os.Args)-1])
	fmt.Println("listens:", err)
	select {}
}

// TestPinnedOnly: what is in bin/ is taken, and what has its name on the PATH is
// not, be the other there or not.
func TestPinnedOnly(t *testing.T) {
	checkout, elsewhere := t.TempDir(), t.TempDir()
	here := filepath.Join(checkout, "internal", "some")
	makeAll(t, here, filepath.Join(checkout, "deploy", "docker"))
	Must(t, os.WriteFile(filepath.Join(checkout, "deploy", "docker", "Dockerfile"), nil, 0o600))
	for _, name := range []string{"moto_server", "helm", "daprd", "placement", "scheduler", "sentry"} {
		be(t, filepath.Join(elsewhere, name))
	}
	t.Chdir(here)
	t.Setenv("PATH", elsewhere+":"+os.Getenv("PATH"))
	t.Setenv("ORDERSAGA_DAPR_BIN", "")
	t.Setenv("CI", "true")
	UseBuiltDapr()

	for want, need := range map[string]func(testing.TB){
		"bin/moto/bin/moto_server is not there: `make moto`": func(t testing.TB) { Moto(t) },
		"bin/helm is not there: `make helm`":                 func(t testing.TB) { Pinned(t, "helm", "helm") },
		"no program daprd in it: `make dapr`":                NeedDapr,
	} {
		if said := leftOut(t, need); !strings.Contains(said, want) {
			t.Errorf("%q, want %q", said, want)
		}
	}

	pinned := filepath.Join(checkout, "bin", "moto", "bin", "moto_server")
	be(t, pinned)
	if got := Moto(t).cmd.Path; got != pinned {
		t.Errorf("started %s, want %s", got, pinned)
	}
	for _, name := range []string{"daprd", "placement", "scheduler"} {
		be(t, filepath.Join(checkout, "bin", name))
	}
	got, err := daprlocal.Find()
	if want := filepath.Join(checkout, "bin", "daprd"); err != nil || got.Daprd != want {
		t.Errorf("daprd is %s (%v), want %s", got.Daprd, err, want)
	}
	if said, want := leftOut(t, NeedSentry), "no program sentry in it: `make dapr`"; !strings.Contains(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
}

// be puts this program under a name.
func be(t *testing.T, path string) {
	t.Helper()
	program, err := os.Executable()
	Must(t, err)
	makeAll(t, filepath.Dir(path))
	Must(t, os.Symlink(program, path))
}

func makeAll(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		Must(t, os.MkdirAll(dir, 0o700))
	}
}

// leftOut is what a test says that cannot run in CI, or "".
func leftOut(t *testing.T, need func(testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // Fatal ends it
		defer close(done)
		need(r)
	}()
	<-done
	return r.said
}

type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatal(what ...any) {
	r.said = fmt.Sprint(what...)
	runtime.Goexit()
}
