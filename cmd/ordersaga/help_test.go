package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

func TestHelpAndVersionExitWithStatus0(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"dev", "--help"}, {"worker", "--help"}} {
		status, out, _ := ordersaga(t, args...)
		if status != 0 || !strings.Contains(out, "Usage: ordersaga") {
			t.Errorf("%v: status %d, want 0 and the usage:\n%s", args, status, out)
		}
	}
	status, out, _ := ordersaga(t, "version")
	if status != 0 || !strings.HasPrefix(out, "ordersaga ") {
		t.Errorf("version: status %d, output %q, want 0 and ordersaga's version", status, out)
	}
}

// TestHelpShowsOnlyFlagsThatApply checks what reconcile, which shares settings
// with worker, lists.
func TestHelpShowsOnlyFlagsThatApply(t *testing.T) {
	t.Parallel()
	_, out, _ := ordersaga(t, "reconcile", "--help")
	for _, flag := range []string{"--ephemeral", "--no-intake", "--reconcile-every", "--shutdown-timeout", "--listen"} {
		if strings.Contains(out, flag) {
			t.Errorf("reconcile --help shows %s, want only flags that have an effect there", flag)
		}
	}
	_, out, _ = ordersaga(t, "worker", "--help")
	for _, heading := range []string{
		"Embedded engine:", "Dapr (only with --engine dapr):", "AWS:", "Payment provider:", "Orders:", "Access:",
	} {
		if !strings.Contains(out, "\n"+heading+"\n") {
			t.Errorf("want heading %q in worker --help:\n%s", heading, out)
		}
	}
}

// TestPlaceholdersDescribeValues checks that no flag without a default shows its Go type or
// its own name as the value, which is what kong does if the tag has no placeholder.
func TestPlaceholdersDescribeValues(t *testing.T) {
	t.Parallel()
	for _, command := range newParser(t, &cli{}).Model.Leaves(false) {
		for _, flag := range slices.Concat(command.AllFlags(true)...) {
			if !flag.IsBool() && !flag.HasDefault && flag.PlaceHolder == "" {
				t.Errorf("%s --help shows %s, want a placeholder in the flag's tag", command.FullPath(), flag)
			}
		}
	}
}

// TestApprovalHelpStatesTheDefault checks the flag whose placeholder is an example of a value,
// which reads as the default.
func TestApprovalHelpStatesTheDefault(t *testing.T) {
	t.Parallel()
	_, out, _ := ordersaga(t, "worker", "--help")
	const want = "Default: 0, no order waits"
	if text := strings.Join(strings.Fields(out), " "); !strings.Contains(text, want) {
		t.Errorf("worker --help, want %q for --approval-above:\n%s", want, out)
	}
}

func newParser(t *testing.T, c *cli) *kong.Kong {
	t.Helper()
	parser, err := newKong(c, io.Discard, io.Discard)
	require.NoError(t, err)
	return parser
}

// TestEnvironmentVariableHasOneMeaning checks that a variable that is set for one
// command does not change another one: the first variable of two flags is the
// same only if their help or their default is.
func TestEnvironmentVariableHasOneMeaning(t *testing.T) {
	t.Parallel()
	seen := map[string]*kong.Flag{}
	for _, command := range newParser(t, &cli{}).Model.Leaves(false) {
		for _, flag := range slices.Concat(command.AllFlags(false)...) {
			if len(flag.Envs) == 0 {
				continue
			}
			first, ok := seen[flag.Envs[0]]
			if ok && first.Help != flag.Help && first.Default != flag.Default {
				t.Errorf("%s sets two different flags, want the same help or default: %q (default %s) and, for %s, %q (default %s)",
					flag.Envs[0], first.Help, first.Default, command.Path(), flag.Help, flag.Default)
			}
			seen[flag.Envs[0]] = flag
		}
	}
}

// TestOldNamesStillWork checks the names that a redesign replaced.
func TestOldNamesStillWork(t *testing.T) {
	var c cli
	_, err := newParser(t, &c).Parse([]string{"worker", "--take-over"})
	require.NoError(t, err)
	if !c.Worker.ForceOwnership {
		t.Error("--take-over leaves --force-ownership false, want true")
	}
	c = cli{}
	_, err = newParser(t, &c).Parse([]string{"health", "--any"})
	require.NoError(t, err)
	if !c.Health.AutoDetect {
		t.Error("--any leaves --auto-detect false, want true")
	}
	c = cli{}
	t.Setenv("ORDERSAGA_TAKE_OVER", "true")
	t.Setenv("ORDERSAGA_LISTEN", "127.0.0.1:1")
	_, err = newParser(t, &c).Parse([]string{"worker"})
	require.NoError(t, err)
	if !c.Worker.ForceOwnership || c.Worker.Listen != "127.0.0.1:1" {
		t.Errorf("from the environment: force ownership %t, listen on %s, want true and 127.0.0.1:1", c.Worker.ForceOwnership, c.Worker.Listen)
	}
}

// TestLoadDoesNotUseTheWorkersPatience checks the variable that two commands
// once shared.
func TestLoadDoesNotUseTheWorkersPatience(t *testing.T) {
	t.Setenv("ORDERSAGA_PATIENCE", "24h")
	t.Setenv("ORDERSAGA_LOAD_PATIENCE", "3m")
	var c cli
	_, err := newParser(t, &c).Parse([]string{"load"})
	require.NoError(t, err)
	if c.Load.Patience.String() != "3m0s" {
		t.Errorf("load's patience = %s, want 3m0s of ORDERSAGA_LOAD_PATIENCE", c.Load.Patience)
	}
}

// TestSharedVariablesSetNoForeignFlag checks that settings in the environment, which
// several commands read, are not rejected as flags that do not apply are.
func TestSharedVariablesSetNoForeignFlag(t *testing.T) {
	t.Setenv("ORDERSAGA_FSYNC", "off")
	t.Setenv("ORDERSAGA_PUBSUB", "x")
	t.Setenv("ORDERSAGA_DATA_DIR", "x")
	var c cli
	for _, engine := range []string{"embedded", "dapr"} {
		command, err := newParser(t, &c).Parse([]string{"worker", "--engine", engine})
		require.NoError(t, err)
		require.NoError(t, checkEngine(command, engine))
	}
	command, err := newParser(t, &c).Parse([]string{"reconcile"})
	require.NoError(t, err)
	require.NoError(t, checkOnline(command))
	if c.Reconcile.DataDir == "" || c.Worker.Fsync != "off" {
		t.Errorf("data dir %q and fsync %q, want those of the environment", c.Reconcile.DataDir, c.Worker.Fsync)
	}
}
