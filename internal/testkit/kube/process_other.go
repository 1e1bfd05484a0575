//go:build !linux

package kube

import "os/exec"

// killWithParent does nothing: only Linux kills a process with its parent.
func killWithParent(*exec.Cmd) {}
