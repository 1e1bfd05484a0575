package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machine describes this machine and its load, in one line.
func machine() string {
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	cpu := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, rest, _ := strings.Cut(string(text), "model name\t: ")
		cpu, _, _ = strings.Cut(rest, "\n")
	}
	return fmt.Sprintf("%d cores, %s, %s; load at the start %s", runtime.NumCPU(), cpu, runtime.Version(), load)
}

// commit returns the commit of this checkout. A change that is not committed is marked.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// fsyncs measures how long writes of 4 KiB take, each with an fsync, for half a second.
func fsyncs(dir string) (took []time.Duration, err error) {
	f, err := os.CreateTemp(dir, "ordersaga-bench-")
	if err != nil {
		return nil, fmt.Errorf("measure disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block, end := make([]byte, 4096), time.Now().Add(time.Second/2)
	for began := time.Now(); began.Before(end); {
		_, err := f.Write(block)
		if err = errors.Join(err, f.Sync()); err != nil {
			return nil, fmt.Errorf("measure disk: %w", err)
		}
		now := time.Now()
		took, began = append(took, now.Sub(began)), now
	}
	return took, nil
}
