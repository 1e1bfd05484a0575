package embedded

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// readOnlyDir is the variable with the directory that a process under test makes
// read-only for itself.
const readOnlyDir = "EMBEDDED_TEST_READ_ONLY_DIR"

// TestBackupOnAReadOnlyMediumIsVerified: with and without the lock file. An engine
// does not start there, and a running one is noticed.
func TestBackupOnAReadOnlyMediumIsVerified(t *testing.T) {
	if root := os.Getenv(readOnlyDir); root != "" {
		verifyReadOnly(t, root)
		return
	}
	root := t.TempDir()
	dir := filepath.Join(root, "locked", "engine")
	e := run(t, enginetest.NewWorld(), Options{Dir: dir})
	e.end(t, "ended", 2)
	e.archiveNow(t)
	e.start(t, "Listen", "live", nil)
	e.stop()
	unlocked := filepath.Join(root, "unlocked", "engine")
	require.NoError(t, os.CopyFS(unlocked, os.DirFS(dir)), os.Remove(filepath.Join(unlocked, "LOCK")))
	running := filepath.Join(root, "running", "engine")
	require.NoError(t, os.CopyFS(running, os.DirFS(unlocked)))
	run(t, enginetest.NewWorld(), Options{Dir: running})

	child := exec.Command(os.Args[0], "-test.run=^TestBackupOnAReadOnlyMediumIsVerified$", "-test.v")
	child.Env = append(os.Environ(), readOnlyDir+"="+root)
	child.SysProcAttr = &syscall.SysProcAttr{ // mounts of its own, without privileges
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	if strings.Contains(string(out), "cannot mount") || errors.Is(err, syscall.EPERM) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this machine allows no mounts without privileges (%v): %s", err, out)
		}
		t.Skipf("this machine allows no mounts without privileges (%v): %s", err, out)
	}
	if err != nil {
		t.Errorf("verify on a read-only medium: %v, want no error: %s", err, out)
	}
}

// verifyReadOnly runs in a process of its own.
func verifyReadOnly(t *testing.T, root string) {
	t.Helper()
	bind := syscall.Mount(root, root, "", syscall.MS_BIND, "")
	readOnly := syscall.Mount("", root, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	if err := errors.Join(bind, readOnly); err != nil {
		t.Fatalf("cannot mount: %v", err)
	}
	for _, name := range []string{"locked", "unlocked"} {
		dir := filepath.Join(root, name, "engine")
		r, err := Verify(dir)
		if err != nil || !r.Intact() || r.Live != 1 || r.Archive.Sagas != 2 {
			t.Errorf("%s: Verify = %+v, %v, want it intact, with 1 live and 2 archived sagas", name, r, err)
		}
		if _, err := Open(Options{Dir: dir, Logger: zerolog.Nop()}); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: Open = %v, want EROFS", name, err)
		}
	}
	if _, err := Verify(filepath.Join(root, "running", "engine")); err == nil || !strings.Contains(fmt.Sprint(err), "in use by another process") {
		t.Errorf("Verify beside a running engine = %v, want an error that it is in use", err)
	}
}
