//go:build !linux

package keda

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
