package badgerstore

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// unmap lets the system take away the memory that holds pages of these files, which are
// mapped: they stay in its cache, and come back where somebody reads them. Without that, what
// was read once at a start counts as memory of this process for good.
//
// The files must stay mapped until it returns, because whatever is mapped in their place
// would lose its contents. Shared maps of files lose nothing, written or not. What goes wrong
// is left as it is: nothing rests on it.
func unmap(files map[string]bool) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		// from-to permissions offset device inode path
		fields := strings.SplitN(strings.TrimSuffix(string(line), "\n"), " ", 6)
		if len(fields) < 6 || !files[strings.TrimLeft(fields[5], " ")] || !strings.HasSuffix(fields[1], "s") {
			continue
		}
		low, high, _ := strings.Cut(fields[0], "-")
		from, err1 := strconv.ParseUint(low, 16, 64)
		to, err2 := strconv.ParseUint(high, 16, 64)
		if err1 == nil && err2 == nil {
			syscall.Syscall(syscall.SYS_MADVISE, uintptr(from), uintptr(to-from), syscall.MADV_DONTNEED)
		}
	}
}
