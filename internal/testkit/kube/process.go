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

// run starts a program, and stops it at the end of the test. It writes the program's output to a
// file in dir, and logs the end of that file if the test fails.
func run(t testing.TB, dir, name string, env []string, program string, args ...string) {
	t.Helper()
	path := filepath.Join(dir, name+".log")
	log, err := os.Create(path)
	require.NoError(t, err)
	cmd := exec.Command(program, args...) //nolint:gosec,noctx // the test's own paths; the end of the test stops it
	cmd.Env, cmd.Dir = append(os.Environ(), env...), dir
	cmd.Stdout, cmd.Stderr = log, log
	killWithParent(cmd)
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its log explains an unexpected exit
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // fails only if the process has exited
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		<-ended
		kill.Stop()
		_ = log.Close() // the process has its own file descriptor
		if t.Failed() {
			b, err := os.ReadFile(path)
			t.Logf("--- %s (%v)\n%s", name, err, b[max(0, len(b)-3000):])
		}
	})
}
