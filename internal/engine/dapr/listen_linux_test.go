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
)

// TestListensOnLoopback: none of Dapr's processes on this machine can be
// reached from another. A sidecar's internal port asks for no token, and leads
// to its app.
func TestListensOnLoopback(t *testing.T) {
	c := cluster(t)
	if _, err := c.Sidecar(t.Context(), daprlocal.App{ID: "ordersaga"}); err != nil {
		t.Fatal(err)
	}
	for name, least := range map[string]int{daprlocal.Placement: 3, daprlocal.Scheduler: 4, "daprd ordersaga": 4} {
		at := listens(t, c.PID(name))
		if len(at) < least {
			t.Errorf("%s listens on %v; %d ports are known", name, at, least)
		}
		for _, a := range at {
			host, hex, _ := strings.Cut(a, ":")
			port, err := strconv.ParseInt(hex, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			if host != "0100007F" && host != "00000000000000000000000001000000" && !isHealth(t, c.PID(name), port) {
				t.Errorf("%s listens on %s, port %d", name, host, port)
			}
		}
	}
}

// isHealth reports whether a process has that port for its health, which is all
// that can be learnt there. Dapr 1.18.2 reads --healthz-listen-address, and
// listens everywhere.
func isHealth(t *testing.T, pid int, port int64) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), fmt.Sprintf("--healthz-port\x00%d\x00", port))
}

// listens are the addresses, as /proc/net has them, that a process accepts TCP
// connections on.
func listens(t *testing.T, pid int) (at []string) {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := filepath.Glob(filepath.Join(proc, "fd", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var sockets []string
	for _, fd := range fds {
		var inode string
		if to, err := os.Readlink(fd); err == nil { // it may be closed by now
			if _, err := fmt.Sscanf(to, "socket:[%s", &inode); err == nil {
				sockets = append(sockets, strings.TrimSuffix(inode, "]"))
			}
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(filepath.Join(proc, "net", table))
		if err != nil {
			t.Fatal(err)
		}
		const address, state, inode, listening = 1, 3, 9, "0A"
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > inode && f[state] == listening && slices.Contains(sockets, f[inode]) {
				at = append(at, f[address])
			}
		}
	}
	return at
}
