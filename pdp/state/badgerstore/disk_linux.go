package badgerstore

import (
	"errors"
	"os"
	"syscall"
)

// allocate takes size bytes of disk for f.
func allocate(f *os.File, size int64) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return errors.ErrUnsupported
	}
	return err
}

// syncData makes the contents of f durable.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
