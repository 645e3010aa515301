package state

import "reflect"

// slab keeps rows of one kind, addressed by number. Row 0 is never given out: it
// stands for "none". Rows never move, so growing costs one chunk and no copying, and
// a *T stays good until its row is released. Row types hold no pointers: the garbage
// collector then skips the chunks.
type slab[T any] struct {
	chunks [][]T
	bits   uint32 // a chunk has 1<<bits rows
	next   uint32 // the lowest row never used
	free   []uint32
}

// slabBytes is about the size of a chunk: small enough for an empty view to be
// small, large enough that the list of chunks stays in the processor's cache.
const slabBytes = 64 << 10

func newSlab[T any]() slab[T] {
	s := slab[T]{next: 1}
	for size := reflect.TypeFor[T]().Size(); size<<(s.bits+1) <= slabBytes; s.bits++ {
	}
	return s
}

// at gives the row i, which must have been given out by add.
func (s *slab[T]) at(i uint32) *T {
	c := s.chunks[i>>s.bits]
	return &c[i&(1<<s.bits-1)]
}

// add gives the number of a zeroed row.
func (s *slab[T]) add() uint32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	i := s.next
	if int(i>>s.bits) == len(s.chunks) {
		s.grow()
	}
	s.next++
	return i
}

// A slab that has become large grows by many chunks at a time, in one block of memory in
// huge pages.
const (
	blockBytes  = 8 << 20
	blockChunks = blockBytes / slabBytes
	plainChunks = 2 * blockChunks
)

func (s *slab[T]) grow() {
	if len(s.chunks) < plainChunks {
		s.chunks = append(s.chunks, make([]T, 1<<s.bits))
		return
	}
	block := make([]T, blockChunks<<s.bits)
	hugePages(block)
	for rest := block; len(rest) > 0; rest = rest[1<<s.bits:] {
		s.chunks = append(s.chunks, rest[:1<<s.bits:1<<s.bits])
	}
}

// release forgets the row i.
func (s *slab[T]) release(i uint32) {
	var zero T
	*s.at(i) = zero
	s.free = append(s.free, i)
}
