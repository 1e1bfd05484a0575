package journal

import (
	"errors"
	"os"
	"syscall"
)

// Sync implements File. It leaves out the times of the file. With them, the file system
// commits its own journal, and before that often the data of other files: a log would wait
// for the snapshot that is being written.
func (f diskFile) Sync() error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	fault := conn.Control(func(fd uintptr) {
		err = syscall.EINTR
		for errors.Is(err, syscall.EINTR) {
			err = syscall.Fdatasync(int(fd))
		}
	})
	if err != nil {
		err = &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return errors.Join(fault, err)
}
