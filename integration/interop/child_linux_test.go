package interop

import "syscall"

// killWithParent returns attributes with which the kernel kills a child process when this process
// is killed.
func killWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
