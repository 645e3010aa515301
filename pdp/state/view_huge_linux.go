package state

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePages asks the system to back memory that nobody has used yet with large pages. In a
// large view nearly each step of a decision is a visit to main memory, and with small pages
// as many to the page tables. It is a wish: what comes of an error is small pages.
func hugePages[T any](block []T) {
	size := len(block) * int(unsafe.Sizeof(block[0]))
	unix.Madvise(unsafe.Slice((*byte)(unsafe.Pointer(&block[0])), size), unix.MADV_HUGEPAGE)
}
