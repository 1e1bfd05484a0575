package daprlocal

import (
	"os"
	"os/exec"
	"syscall"
)

// dieWithParent leaves no sidecar behind, even after kill -9. It also keeps
// Ctrl-C from reaching the children first: they stop after who needs them.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
