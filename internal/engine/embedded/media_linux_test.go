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

	"github.com/ordersaga/ordersaga/internal/engine"
	"github.com/ordersaga/ordersaga/internal/engine/enginetest"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// mountDir is the variable with the directory over which a process under test
// mounts a file system of its own.
const mountDir = "EMBEDDED_TEST_MOUNT_DIR"

// inOwnMounts runs the current test again, in a process with mounts of its own,
// which takes no privileges.
func inOwnMounts(t *testing.T, dir string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), mountDir+"="+dir)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	if strings.Contains(string(out), cannotMount) || errors.Is(err, syscall.EPERM) {
		why := fmt.Sprintf("this machine allows no mounts without privileges (%v): %s", err, out)
		if os.Getenv("CI") == "true" {
			t.Fatal("with CI=true every test must run: " + why)
		}
		t.Skip(why)
	}
	if err != nil {
		t.Errorf("in a process with mounts of its own: %v, want no error: %s", err, out)
	}
}

const cannotMount = "cannot mount"

// TestBackupOnAReadOnlyMediumIsVerified: with and without the lock file. An engine
// does not start there, and a running one is noticed.
func TestBackupOnAReadOnlyMediumIsVerified(t *testing.T) {
	if root := os.Getenv(mountDir); root != "" {
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

	inOwnMounts(t, root)
}

// verifyReadOnly runs in a process of its own.
func verifyReadOnly(t *testing.T, root string) {
	t.Helper()
	bind := syscall.Mount(root, root, "", syscall.MS_BIND, "")
	readOnly := syscall.Mount("", root, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	if err := errors.Join(bind, readOnly); err != nil {
		t.Fatal(cannotMount, err)
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
	_, err := Verify(filepath.Join(root, "running", "engine"))
	if locked := new(journal.LockedError); !errors.As(err, &locked) {
		t.Errorf("Verify beside a running engine = %v, want a LockedError", err)
	}
}

// TestEngineStartsOnAFullDisk: also repeatedly, with what was freed meanwhile
// filled up again.
func TestEngineStartsOnAFullDisk(t *testing.T) {
	root := os.Getenv(mountDir)
	if root == "" {
		inOwnMounts(t, t.TempDir())
		return
	}
	if err := syscall.Mount("none", root, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(cannotMount, err)
	}
	dir := filepath.Join(root, "engine")
	e := run(t, enginetest.NewWorld(), Options{Dir: dir})
	e.start(t, "Listen", "l", nil)
	e.becomes(t, "l", engine.Running)
	e.stop()
	for range 3 {
		f, err := os.OpenFile(filepath.Join(root, "filler"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		require.NoError(t, f.Close())
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fill the disk: %v, want ENOSPC", err)
		}
		e, err := Open(Options{Dir: dir, Logger: zerolog.Nop()})
		if err != nil {
			t.Fatalf("Open on a full disk = %v, want no error", err)
		}
		if i, err := e.Get(t.Context(), "l"); err != nil || i.Status != engine.Running {
			t.Errorf("the saga is %+v (%v), want it running", i, err)
		}
		require.NoError(t, e.Close())
	}
}
