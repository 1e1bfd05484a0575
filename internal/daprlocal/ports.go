package daprlocal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports for Dapr's processes are below those that systems give out by
// themselves (from 32768 on Linux, 49152 elsewhere): between the moment that one
// is found free and the moment that a process listens on it, any connection of
// the machine could take it. So could another process that looks for ports in
// the same way, as many tests do at a time. Therefore each takes a block of
// ports for itself, by listening on the block's first one until it ends, and
// gives out the block's others in turn.
const firstPort, lastPort, blockSize = 20_000, 32_000, 200

var block struct {
	sync.Mutex

	claim net.Listener
	first int
	next  int
}

// FreePorts finds ports that are free now, and that this process gives out
// again only when it has given out all others of its block.
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
			_ = l.Close() // only its number was wanted
			out = append(out, port)
		}
	}
	if len(out) == n {
		return out, nil
	}
	return nil, fmt.Errorf("find %d free ports: %d are free of %d to %d", n, len(out), block.first+1, block.first+blockSize-1)
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
	return errors.New("find free ports: other processes have all blocks between " + strconv.Itoa(firstPort) + " and " + strconv.Itoa(lastPort))
}
