package daprlocal

import (
	"net"
	"slices"
	"strconv"
	"testing"
)

// Many processes look for ports at a time; what one was given, no other one
// must be, although nobody listens on it yet.
func TestFreePortsAreOurs(t *testing.T) {
	a, err := FreePorts(blockSize / 2)
	if err != nil {
		t.Fatal(err)
	}
	b, err := FreePorts(blockSize / 4)
	if err != nil {
		t.Fatal(err)
	}
	first := block.first
	for _, p := range slices.Concat(a, b) {
		if n, _ := strconv.Atoi(p); n <= first || n >= first+blockSize {
			t.Errorf("port %s is not of the block from %d", p, first)
		}
	}
	for _, p := range b {
		if slices.Contains(a, p) {
			t.Errorf("port %s was given out twice", p)
		}
	}
	if l, err := net.Listen("tcp", loopback(strconv.Itoa(first))); err == nil {
		_ = l.Close()
		t.Error("another process could take the same block")
	}
	if _, err := FreePorts(blockSize); err == nil {
		t.Error("more ports than the block has")
	}
}

// A port that somebody listens on is passed over.
func TestFreePortsAreFree(t *testing.T) {
	p, err := FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", loopback(p[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	all, err := FreePorts(blockSize - 2)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(all, p[0]) {
		t.Errorf("port %s was given out while somebody listened on it", p[0])
	}
}
