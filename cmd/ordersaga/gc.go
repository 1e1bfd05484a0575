package main

import (
	"os"
	"runtime/debug"
)

// collectLess lets garbage grow to four times what is live before it is
// collected: with everything in one process, collecting at Go's usual once
// takes a quarter of the CPU (docs/benchmarks.md). GOGC has its say.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
