//go:build !linux

package interop

import "syscall"

// killWithParent returns nil: only Linux kills a child with its parent.
func killWithParent() *syscall.SysProcAttr { return nil }
