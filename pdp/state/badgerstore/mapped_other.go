//go:build !linux

package badgerstore

// unmap is for Linux only.
func unmap(map[string]bool) {}
