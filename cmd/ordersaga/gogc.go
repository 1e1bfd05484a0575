package main

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// relaxGC collects garbage less often, unless the environment sets GOGC or
// GOMEMLIMIT: the default of 100 spends up to a quarter of the CPU on it
// (docs/benchmarks.md). The heap may then be five times what is in use, so a limit
// of four fifths of the available memory makes Go collect more often near that.
func relaxGC() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	available, known := availableMemory(os.DirFS("/"))
	if !known {
		return
	}
	debug.SetGCPercent(400)
	if available < math.MaxInt64 {
		debug.SetMemoryLimit(available / 5 * 4)
	}
}

// availableMemory returns how many bytes this process can use: the smallest limit
// of its control groups (version 2), or else the memory of the machine. Without
// Linux's files it returns math.MaxInt64. known is false under control groups of
// version 1, whose limits it does not read.
func availableMemory(root fs.FS) (available int64, known bool) {
	available = math.MaxInt64
	var kib int64
	if b, err := fs.ReadFile(root, "proc/meminfo"); err == nil {
		if n, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); n == 1 && err == nil {
			available = kib << 10
		}
	}
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	_, group, ok := strings.Cut(string(b), "0::")
	if err != nil || !ok {
		return available, err != nil
	}
	group, _, _ = strings.Cut(group, "\n")
	for dir := path.Join("sys/fs/cgroup", group); strings.HasPrefix(dir, "sys/fs/cgroup"); dir = path.Dir(dir) {
		b, err := fs.ReadFile(root, dir+"/memory.max")
		if limit, bad := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && bad == nil {
			available = min(available, limit)
		}
	}
	return available, true
}
