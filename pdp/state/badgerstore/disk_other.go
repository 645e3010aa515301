//go:build !linux

package badgerstore

import (
	"errors"
	"os"
)

// allocate takes size bytes of disk for f. There is no portable way that does not write
// them, so there is no ballast elsewhere.
func allocate(*os.File, int64) error { return errors.ErrUnsupported }

// syncData makes the contents of f durable.
func syncData(f *os.File) error { return f.Sync() }

// holeAt gives where a file ends in one hole, zero when that is not known or it does not.
func holeAt(*os.File) int64 { return 0 }
