package keda

import "syscall"

// killWithParent makes the kernel kill a process when the test is killed.
func killWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
