//go:build !linux

package daprlocal

import (
	"os"
	"os/exec"
)

// dieWithParent is for Linux only; elsewhere kill -9 leaves the children.
func dieWithParent(*exec.Cmd) {}

func terminate(p *os.Process) error { return p.Signal(os.Interrupt) }
