package main

import (
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// relaxGC collects garbage less often, unless the environment sets GOGC or
// GOMEMLIMIT: the default of 100 spends up to a quarter of the CPU on it
// (docs/benchmarks.md). The heap may then be five times what is in use, so a limit
// of four fifths of the available memory makes Go collect more often near that. It is
// the limit of the process's control group, or else the memory of the machine.
func relaxGC() {
	if _, limited := os.LookupEnv("GOMEMLIMIT"); limited || os.Getenv("GOGC") != "" {
		return
	}
	available := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)
	if _, err := memlimit.Set(memlimit.WithRatio(0.8), memlimit.WithProvider(available)); err == nil {
		debug.SetGCPercent(400)
	}
}
