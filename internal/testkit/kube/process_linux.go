package kube

import (
	"os/exec"
	"syscall"
)

// killWithParent makes the kernel kill the process when the test process is killed.
func killWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
