//go:build !linux

package daprlocal

import (
	"os"
	"os/exec"
)

// killWithParent does nothing outside Linux: kill -9 of this process leaves the
// children running.
func killWithParent(*exec.Cmd) {}

// terminate asks a process to exit.
func terminate(p *os.Process) error { return p.Signal(os.Interrupt) }
