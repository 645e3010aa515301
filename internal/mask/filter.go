package mask

import "encoding/binary"

// block is how many bytes of text the filter looks at together.
const block = 4

// filter tells places near which a pattern may begin from those where none can. A pattern of at least `shortest` bytes
// that begins at x has a whole block at every place from x to x+stride-1, so it is enough to look at one place of
// every stride: the one at p answers for beginnings from p-stride+1 to p.
type filter struct {
	stride int
	mask   uint32 // takes the first bytes of a block when patterns are shorter
	shift  uint
	bits   []uint64 // by the hash of the block
	size   int      // bytes of text that mask takes
}

// newFilter makes one for patterns of at least shortest bytes, and about so many blocks.
func newFilter(shortest, blocks int) *filter {
	f := &filter{size: min(shortest, block), shift: 32 - 17}
	f.stride = min(shortest-f.size+1, 8)
	f.mask = uint32(1<<(8*f.size) - 1)
	for f.shift > 32-22 && blocks > 1<<(32-f.shift)/64 { // at most every 64th bit is set, and at most 512 KiB are used
		f.shift--
	}
	f.bits = make([]uint64, 1<<(32-f.shift)/64)
	return f
}

func (f *filter) hash(x uint32) uint32 { return (x & f.mask) * 0x9E3779B1 >> f.shift }

// add adds the blocks of a pattern. Text shorter than it must be is a mistake of the caller.
func (f *filter) add(text string) {
	for i := range f.stride {
		var b [block]byte
		copy(b[:], text[i:i+f.size])
		h := f.hash(binary.LittleEndian.Uint32(b[:]))
		f.bits[h>>6] |= 1 << (h & 63)
	}
}

// find gives the first place in b, not before from, at which a pattern may begin, and the place up to which the same look
// answers for; without a hit, it is what is left at the end of b, too short to be looked at.
func (f *filter) find(b []byte, from int) (at, upTo int) {
	stride, mask, shift, bits := f.stride, f.mask, f.shift, f.bits
	i := from + stride - 1
	for ; i+4 <= len(b); i += stride {
		h := (binary.LittleEndian.Uint32(b[i:]) & mask) * 0x9E3779B1 >> (shift & 31)
		if bits[h>>6]>>(h&63)&1 != 0 {
			return i - stride + 1, i + 1
		}
	}
	return min(i-stride+1, len(b)), len(b)
}
