package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/tools/bench/measure"
)

// build is a build of the engine of one commit.
type build struct {
	program string // command embedded
	tests   string // the tests of package embedded
	failed  error  // why there is no build
}

// buildHere builds the engine of this checkout.
func buildHere(ctx context.Context, dir string) build {
	return buildIn(ctx, "../..", filepath.Join(dir, "embedded"), "readonly")
}

// buildIn builds the engine of a copy of this repository. mod is the go command's -mod.
func buildIn(ctx context.Context, tree, program, mod string) build {
	b := build{program: program, tests: program + ".test"}
	b.failed = command(ctx, filepath.Join(tree, "tools", "bench"), "go", "build", "-mod="+mod, "-o", b.program, "./embedded")
	if b.failed == nil {
		b.failed = command(ctx, tree, "go", "test", "-c", "-o", b.tests, "./internal/engine/embedded")
	}
	return b
}

// buildOf builds the engine of an older commit of this repository. The measurement and its
// modules are those of this checkout.
func buildOf(ctx context.Context, commit, dir string) build {
	tree := filepath.Join(dir, commit)
	bench, archive := filepath.Join(tree, "tools", "bench"), tree+".tar"
	for _, c := range [][]string{
		{"mkdir", tree},
		{"git", "-C", "../..", "archive", "--output", archive, commit},
		{"tar", "-xf", archive, "-C", tree},
		{"rm", "-r", bench},
		{"mkdir", bench},
		{"cp", "-r", "go.mod", "go.sum", "measure", "embedded", bench},
	} {
		if err := command(ctx, ".", c[0], c[1:]...); err != nil {
			return build{failed: err}
		}
	}
	// An older engine may need modules that today's no longer does.
	return buildIn(ctx, tree, filepath.Join(dir, "embedded-"+commit), "mod")
}

// command runs a program in a directory. The error has what it wrote.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the callers name the programs
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s\n%s", name, args[0], err, cmd, tail(out))
	}
	return nil
}

// allocations returns the allocations per saga of BenchmarkThreeActivities/group/64, whose
// activities do more than those of command embedded. It writes a CPU profile beside the program.
func (b build) allocations(ctx context.Context, dir string) (allocs float64, err error) {
	if b.failed != nil {
		return 0, b.failed
	}
	cmd := exec.CommandContext(ctx, b.tests, "-test.run=^$", //nolint:gosec // built above
		"-test.bench=^BenchmarkThreeActivities$/^group$/^64$", "-test.benchtime=20000x", "-test.cpuprofile="+b.tests+".prof")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.CombinedOutput()
	before, _, ok := strings.Cut(string(out), " allocs/op")
	if err == nil && !ok {
		err = errors.New("no allocations in the output")
	}
	if err == nil {
		_, err = fmt.Sscan(before[strings.LastIndexAny(before, " \t")+1:], &allocs)
	}
	if err != nil {
		return 0, fmt.Errorf("benchmark: %w\n%s\n%s", err, cmd, tail(out))
	}
	return allocs, nil
}

// profile returns the functions that take most of the CPU, after allocations has run.
func (b build) profile(ctx context.Context) string {
	args := []string{"tool", "pprof", "-top", "-cum", "-nodecount=45", b.tests, b.tests + ".prof"}
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // built above
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "no profile: " + err.Error()
	}
	return string(out)
}

// engine measures an embedded engine in a process of its own, with more environment variables.
// Without fsync it is in memory.
func (b build) engine(fsync string, env ...string) measureFunc {
	return func(ctx context.Context, dir string, inFlight int, window time.Duration) (m measure.System, err error) {
		if b.failed != nil {
			return m, b.failed
		}
		args := []string{"-in-flight", strconv.Itoa(inFlight), "-window", window.String()}
		if fsync != "" {
			args = append(args, "-dir", filepath.Join(dir, "engine"), "-fsync", fsync)
		}
		cmd := exec.CommandContext(ctx, b.program, args...) //nolint:gosec // built above
		cmd.Env = append(os.Environ(), env...)
		var log bytes.Buffer
		cmd.Stderr = &log
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, &m)
		}
		if err != nil {
			return m, fmt.Errorf("engine: %w\n%s\n%s", err, cmd, tail(log.Bytes()))
		}
		return m, nil
	}
}
