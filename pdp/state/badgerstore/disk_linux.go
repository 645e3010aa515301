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

// holeAt gives where a file ends in one hole, zero when that is not known or it does not.
func holeAt(f *os.File) int64 {
	const seekData, seekHole = 3, 4
	hole, err := syscall.Seek(int(f.Fd()), 0, seekHole)
	if err != nil {
		return 0
	}
	if _, err := syscall.Seek(int(f.Fd()), hole, seekData); !errors.Is(err, syscall.ENXIO) {
		return 0
	}
	return hole
}
