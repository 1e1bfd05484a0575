//go:build !linux

package keda

import "syscall"

// killWithParent changes nothing: only Linux kills a process with its parent.
func killWithParent() *syscall.SysProcAttr { return nil }
