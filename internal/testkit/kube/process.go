package kube

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// run starts a program that ends with the test. Its log goes to a file of the
// cluster's folder, and its end is shown if the test fails.
func run(t testing.TB, dir, name string, env []string, program string, args ...string) {
	t.Helper()
	path := filepath.Join(dir, name+".log")
	log, err := os.Create(path)
	require.NoError(t, err)
	cmd := exec.Command(program, args...) //nolint:gosec,noctx // a test's own paths; stopped by the test's end
	cmd.Env, cmd.Dir = append(os.Environ(), env...), dir
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd)
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is told to end, or its log says why it did
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		<-ended
		late.Stop()
		_ = log.Close() // the process had its own handle
		if t.Failed() {
			b, err := os.ReadFile(path)
			t.Logf("--- %s (%v)\n%s", name, err, b[max(0, len(b)-3000):])
		}
	})
}
