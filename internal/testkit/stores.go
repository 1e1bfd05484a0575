package testkit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// Redis starts a Redis with an append-only file. If args configure TLS, it accepts only TLS.
func Redis(t testing.TB, args ...string) *Server {
	t.Helper()
	binary := RequireTool(t, "redis-server", "apt-get install redis-server")
	port, dir := freePort(t), t.TempDir()
	s := &Server{Address: "127.0.0.1:" + port, t: t, port: port, command: func() *exec.Cmd {
		all := []string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes", "--save", ""}
		if slices.Contains(args, "--tls-cert-file") {
			all = append(all, "--port", "0", "--tls-port", port)
		}
		return exec.Command(binary, append(all, args...)...) //nolint:gosec,noctx // the test's own paths; the end of the test stops it
	}}
	s.begin()
	return s
}

// Moto starts the AWS emulator moto. Its Address is a URL.
func Moto(t testing.TB) *Server {
	t.Helper()
	binary := Pinned(t, "moto/bin/moto_server", "moto")
	port := freePort(t)
	s := &Server{Address: "http://127.0.0.1:" + port, t: t, port: port, command: func() *exec.Cmd {
		return exec.Command(binary, "-H", "127.0.0.1", "-p", port) //nolint:gosec,noctx // the end of the test stops it
	}}
	s.begin()
	return s
}

// PostgreSQL starts a PostgreSQL with its own data directory.
func PostgreSQL(t testing.TB) *Server {
	t.Helper()
	require.NoError(t, addPostgreSQLToPath())
	initdb := RequireTool(t, "initdb", "apt-get install postgresql")
	postgres := RequireTool(t, "postgres", "apt-get install postgresql")
	dir, err := postgresDir()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	as := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		require.NoError(t, err)
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		require.NoError(t, errors.Join(err1, err2, os.Chown(dir, uid, gid)))
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data, port := filepath.Join(dir, "data"), freePort(t)
	create := exec.CommandContext(t.Context(), initdb, //nolint:gosec // the test's own paths
		"-D", data, "-A", "trust", "-U", "ordersaga", "--no-sync")
	create.SysProcAttr, create.Dir = as, dir
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s := &Server{
		Address: "host=127.0.0.1 port=" + port + " user=ordersaga dbname=postgres sslmode=disable", t: t, port: port,
		command: func() *exec.Cmd {
			c := exec.Command(postgres, //nolint:gosec,noctx // the test's own paths; the end of the test stops it
				"-D", data, "-p", port, "-k", dir, "-h", "127.0.0.1", "-c", "max_connections=200")
			c.SysProcAttr, c.Dir = as, "/"
			return c
		},
	}
	s.begin()
	return s
}

// addPostgreSQLToPath appends to PATH the directories in which Debian installs PostgreSQL's
// programs.
func addPostgreSQLToPath() error {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // fails only for an invalid pattern
	return os.Setenv("PATH", os.Getenv("PATH")+":"+strings.Join(dirs, ":"))
}

// postgresDir creates a directory that the user postgres can enter. Only root can enter the
// parents of t.TempDir.
func postgresDir() (string, error) { return os.MkdirTemp("", "ordersaga-pg-") }

// Server is a third-party server that runs until the end of the test.
type Server struct {
	Address string // in the format of a Dapr component, or a URL

	t       testing.TB
	port    string
	command func() *exec.Cmd
	cmd     *exec.Cmd
	out     strings.Builder
}

// begin starts the server, and stops it at the end of the test.
func (s *Server) begin() {
	s.t.Helper()
	s.t.Cleanup(func() {
		if s.cmd.Process == nil { // Start has failed
			return
		}
		_ = s.cmd.Process.Signal(syscall.SIGINT) // PostgreSQL's fast shutdown; Redis's usual one
		_ = s.cmd.Wait()                         // the exit status does not matter
		if s.t.Failed() {
			out := s.out.String()
			s.t.Logf("--- %s\n%s", s.cmd.Path, out[max(0, len(out)-4000):])
		}
	})
	s.Start()
}

// Start starts a server that was killed, and waits until it accepts connections.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = s.command()
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	require.NoError(s.t, s.cmd.Start())
	// Two Java virtual machines have taken more than 30 s during a full test run.
	Within(s.t, 3*time.Minute, s.cmd.Path+" accepts connections", func() error { return dial("127.0.0.1:" + s.port) })
}

// Kill kills the server with SIGKILL.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // fails only if the process has exited
	_ = s.cmd.Wait()         // reports the kill
}

// dial opens and closes a connection.
func dial(address string) error {
	c, err := net.Dial("tcp", address) //nolint:noctx // loopback
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	return c.Close()
}

// freePort returns a free port of 127.0.0.1.
func freePort(t testing.TB) string {
	t.Helper()
	p, err := daprlocal.FreePorts(1)
	require.NoError(t, err)
	return p[0]
}
