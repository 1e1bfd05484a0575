package dapr_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ordersaga/ordersaga/internal/daprlocal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestDaprListensOnLoopbackOnly: Dapr's processes on this machine cannot be
// reached from another. A sidecar's internal port requires no token, and leads to
// its app.
func TestDaprListensOnLoopbackOnly(t *testing.T) {
	c := startCluster(t)
	if _, err := c.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga"}); err != nil {
		t.Fatal(err)
	}
	for name, least := range map[string]int{daprlocal.Placement: 3, daprlocal.Scheduler: 4, "daprd ordersaga": 4} {
		at := listenAddresses(t, c.PID(name))
		if len(at) < least {
			t.Errorf("%s listens on %v, want at least %d ports", name, at, least)
		}
		for _, a := range at {
			host, hex, _ := strings.Cut(a, ":")
			port, err := strconv.ParseInt(hex, 16, 32)
			require.NoError(t, err)
			if host != "0100007F" && host != "00000000000000000000000001000000" && !isHealth(t, c.PID(name), port) {
				t.Errorf("%s listens on %s, port %d, want loopback only", name, host, port)
			}
		}
	}
}

// isHealth reports whether a port is that of a process's health check, which
// reveals nothing else. Dapr 1.18.2 reads --healthz-listen-address, but listens on
// all addresses.
func isHealth(t *testing.T, pid int, port int64) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	require.NoError(t, err)
	return strings.Contains(string(b), fmt.Sprintf("--healthz-port\x00%d\x00", port))
}

// listenAddresses returns the addresses, in the form of /proc/net, on which a
// process accepts TCP connections.
func listenAddresses(t *testing.T, pid int) (at []string) {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := filepath.Glob(filepath.Join(proc, "fd", "*"))
	require.NoError(t, err)
	var sockets []string
	for _, fd := range fds {
		var inode string
		if to, err := os.Readlink(fd); err == nil { // it may have been closed
			if _, err := fmt.Sscanf(to, "socket:[%s", &inode); err == nil {
				sockets = append(sockets, strings.TrimSuffix(inode, "]"))
			}
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(filepath.Join(proc, "net", table))
		require.NoError(t, err)
		const address, state, inode, listening = 1, 3, 9, "0A"
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > inode && f[state] == listening && slices.Contains(sockets, f[inode]) {
				at = append(at, f[address])
			}
		}
	}
	return at
}
