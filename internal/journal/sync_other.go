//go:build !linux

package journal

// Sync implements File.
func (f diskFile) Sync() error { return f.File.Sync() }
