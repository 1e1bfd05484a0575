package daprlocal

import (
	"net"
	"slices"
	"strconv"
	"testing"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// Many processes look for ports concurrently. No two must get the same, although
// nothing listens on a port yet.
func TestFreePortsAreUnique(t *testing.T) {
	a, err := FreePorts(blockSize / 2)
	require.NoError(t, err)
	b, err := FreePorts(blockSize / 4)
	require.NoError(t, err)
	first := block.first
	for _, p := range slices.Concat(a, b) {
		if n, _ := strconv.Atoi(p); n <= first || n >= first+blockSize {
			t.Errorf("port %s is outside the block, want %d to %d", p, first+1, first+blockSize-1)
		}
	}
	for _, p := range b {
		if slices.Contains(a, p) {
			t.Errorf("port %s was returned twice, want it once", p)
		}
	}
	if l, err := net.Listen("tcp", loopback(strconv.Itoa(first))); err == nil {
		_ = l.Close()
		t.Errorf("another process could claim the same block, want its first port %d in use", first)
	}
	if _, err := FreePorts(blockSize); err == nil {
		t.Error("FreePorts of more ports than the block has = nil, want an error")
	}
}

func TestFreePortsSkipsPortsInUse(t *testing.T) {
	p, err := FreePorts(1)
	require.NoError(t, err)
	l, err := net.Listen("tcp", loopback(p[0]))
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	all, err := FreePorts(blockSize - 2)
	require.NoError(t, err)
	if slices.Contains(all, p[0]) {
		t.Errorf("port %s was returned while it was in use, want only free ports", p[0])
	}
}
