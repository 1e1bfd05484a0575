package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestInterruptedDevLeavesNothing interrupts dev while it waits for Dapr: this is
// not a failure, and no files or processes remain. Its Dapr is a fake that never
// becomes healthy.
func TestInterruptedDevLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		status int
	}{
		"dev":             {nil, 0},
		"demo and --exit": {[]string{"--demo=1", "--exit"}, 1}, // 0 would mean that it passed
	} {
		t.Run(name, func(t *testing.T) {
			bin, tmp := t.TempDir(), t.TempDir()
			for _, program := range []string{"daprd", "placement", "scheduler"} {
				script := "#!/bin/sh\ncd '" + bin + "' && echo $$ > now && mv now pid && exec sleep 60\n"
				if err := os.WriteFile(filepath.Join(bin, program), []byte(script), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("ORDERSAGA_DAPR_BIN", bin)
			t.Setenv("TMPDIR", tmp)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan int, 1)
			var out, errs bytes.Buffer
			go func() { ended <- run(ctx, devArgs(append(c.args, "--engine=dapr", "--ephemeral")...), &out, &errs) }()
			var pid int
			require.EventuallyNoError(t, "the first of Dapr's programs runs", 20*time.Second, func() error {
				b, err := os.ReadFile(filepath.Join(bin, "pid"))
				if err == nil {
					pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
				}
				return err
			})
			stop()
			if status := <-ended; status != c.status || bytes.Contains(errs.Bytes(), []byte("healthy")) || c.status == 0 && errs.Len() > 0 {
				t.Errorf("status %d, want %d and no error: %s", status, c.status, errs.String())
			}
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("process %d still runs: %v", pid, err)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("files that remain = %v (error %v), want none", left, err)
			}
		})
	}
}
