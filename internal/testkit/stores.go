package testkit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Redis starts a Redis with an append-only file, and returns its address.
func Redis(t testing.TB) string {
	t.Helper()
	binary := NeedTool(t, "redis-server", "apt-get install redis-server")
	port := freePort(t)
	child(t, nil, binary, "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--appendonly", "yes", "--save", "")
	Eventually(t, "Redis answers", func() error { return dial("127.0.0.1:" + port) })
	return "127.0.0.1:" + port
}

// PostgreSQL starts a PostgreSQL on a data directory of its own, and returns a
// connection string.
func PostgreSQL(t testing.TB) string {
	t.Helper()
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // its only error is a bad pattern
	if err := os.Setenv("PATH", os.Getenv("PATH")+":"+strings.Join(dirs, ":")); err != nil {
		t.Fatal(err)
	}
	initdb := NeedTool(t, "initdb", "apt-get install postgresql")
	postgres := NeedTool(t, "postgres", "apt-get install postgresql")
	dir, err := os.MkdirTemp("", "ordersaga-pg-") // t.TempDir's parents are root's alone
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	as := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		must(t, err)
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		must(t, errors.Join(err1, err2, os.Chown(dir, uid, gid)))
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data, port := filepath.Join(dir, "data"), freePort(t)
	create := exec.CommandContext(t.Context(), initdb, "-D", data, "-A", "trust", "-U", "ordersaga", "--no-sync") //nolint:gosec // a test's own paths
	create.SysProcAttr, create.Dir = as, dir
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	child(t, as, postgres, "-D", data, "-p", port, "-k", dir, "-h", "127.0.0.1", "-c", "max_connections=200")
	Eventually(t, "PostgreSQL answers", func() error { return dial("127.0.0.1:" + port) })
	return "host=127.0.0.1 port=" + port + " user=ordersaga dbname=postgres sslmode=disable"
}

// child runs a program until the test ends.
func child(t testing.TB, as *syscall.SysProcAttr, binary string, args ...string) {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(binary, args...) //nolint:gosec,noctx // a test's own paths; stopped below
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr, cmd.Dir = &out, &out, as, "/"
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // PostgreSQL's fast shutdown; Redis's usual one
		_ = cmd.Wait()                         // its status is of no interest
		if t.Failed() {
			t.Logf("--- %s\n%s", binary, out.String())
		}
	})
}

func dial(address string) error {
	c, err := net.Dial("tcp", address) //nolint:noctx // loopback
	if err != nil {
		return fmt.Errorf("not yet: %w", err)
	}
	return c.Close()
}

func freePort(t testing.TB) string {
	t.Helper()
	l := listen(t)
	defer func() { must(t, l.Close()) }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return port
}
