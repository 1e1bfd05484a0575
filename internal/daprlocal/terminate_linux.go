package daprlocal

import (
	"os"
	"os/exec"
	"syscall"
)

// killWithParent makes the kernel kill the child when this process exits, even
// after kill -9. It also keeps Ctrl-C from reaching the children first: they stop
// after the processes that need them.
func killWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// terminate asks a process to exit.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
