package daprlocal

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports for Dapr's processes are below the ephemeral range (from 32768 on Linux,
// 49152 elsewhere). Otherwise any connection of the machine could take a port
// between the moment it is found free and the moment a process listens on it. So
// could another process that looks for ports in the same way, as concurrent tests
// do. Therefore each process claims a block of ports, by listening on the block's
// first port until it exits, and returns the block's other ports in turn.
const firstPort, lastPort, blockSize = 20_000, 32_000, 200

var block struct {
	sync.Mutex

	claim net.Listener
	first int
	next  int
}

// FreePorts returns n TCP ports of the loopback interface that are free now. It
// returns a port again only after it has returned all others of its block. It is
// safe for concurrent use.
func FreePorts(n int) ([]string, error) {
	block.Lock()
	defer block.Unlock()
	if block.claim == nil {
		if err := claimBlock(); err != nil {
			return nil, err
		}
	}
	out := make([]string, 0, n)
	for range blockSize - 1 {
		if len(out) == n {
			return out, nil
		}
		block.next = block.next%(blockSize-1) + 1
		port := strconv.Itoa(block.first + block.next)
		if l, err := net.Listen("tcp", loopback(port)); err == nil { //nolint:noctx // it does not block
			_ = l.Close() // only its number is needed
			out = append(out, port)
		}
	}
	if len(out) == n {
		return out, nil
	}
	return nil, fmt.Errorf("find %d free ports: only %d of %d to %d are free", n, len(out), block.first+1, block.first+blockSize-1)
}

func claimBlock() error {
	for _, i := range rand.Perm((lastPort - firstPort) / blockSize) { //nolint:gosec // it is no secret
		first := firstPort + i*blockSize
		l, err := net.Listen("tcp", loopback(strconv.Itoa(first))) //nolint:noctx // it does not block
		if err == nil {
			block.claim, block.first = l, first
			return nil
		}
	}
	return fmt.Errorf("find free ports: other processes have claimed all blocks between %d and %d", firstPort, lastPort)
}
