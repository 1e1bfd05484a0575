package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// waiting is what TestMillion of package embedded measures, and writes as JSON.
type waiting struct {
	Sagas, StateBytes      int
	HeapRan, HeapRestarted float64 // bytes per saga, after it ran and after a restart
	Resident               float64 // GB at most
	DiskBytes              int64
	Restart, Snapshot      time.Duration
	Read, Start            pauses
	Machine                pauses // of a loop that does the work of a read without the engine
}

// pauses are the longest calls before a snapshot, and during it.
type pauses struct{ Alone, Beside time.Duration }

// million runs TestMillion, which measures an engine with many waiting sagas.
func (o options) million(ctx context.Context) (w waiting, err error) {
	dir, err := os.MkdirTemp(o.dir, "ordersaga-bench-")
	if err != nil {
		return w, fmt.Errorf("create a directory for the waiting sagas: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(os.Stderr, "measuring", o.waiting, "waiting sagas (two minutes for a million)")
	results := filepath.Join(dir, "results.json")
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=8m", //nolint:gosec // our own test
		"-run=^TestMillion$", "./internal/engine/embedded", "-waiting-sagas="+strconv.Itoa(o.waiting), "-results="+results)
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "TMPDIR="+dir)
	out, testErr := cmd.CombinedOutput()
	text, err := os.ReadFile(results) // a test that fails may have measured
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		return w, fmt.Errorf("TestMillion: %w\n%s\n%s", errors.Join(testErr, err), cmd, tail(out))
	}
	return w, nil
}
