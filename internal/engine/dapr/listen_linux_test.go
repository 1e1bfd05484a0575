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
			if !strings.HasPrefix(a, "0100007F:") && !strings.HasPrefix(a, "00000000000000000000000001000000:") {
				host, port, _ := strings.Cut(a, ":")
				n, err := strconv.ParseInt(port, 16, 32)
				t.Errorf("%s listens on %s, port %d (%v)", name, host, n, err)
			}
		}
	}
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
