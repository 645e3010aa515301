package mask

import "encoding/binary"

const (
	// block is how many bytes of text the filter looks at together.
	block = 4
	// maxStride bounds how far two looks are apart.
	maxStride = 8

	quickBits = 18 // 32 KiB, which stay in a processor's nearest cache
)

// filter tells places near which a pattern may begin from those where none can. Of each pattern it knows a window: as many blocks, one
// byte apart, as there are bytes in a stride. So of any stride of looks one falls on such a block, if the pattern is there. A window
// is not always a pattern's beginning, but where it looks least like words: "private_token=" would have every "private" looked at.
type filter struct {
	stride int
	offset int    // the deepest window's
	mask   uint32 // takes the first bytes of a block when patterns are shorter
	size   int    // bytes of text that mask takes

	quick *[1 << quickBits / 64]uint64 // by the hash of the block
	sure  []uint64                     // by another hash, for what quick lets pass
	shift uint
}

// newFilter makes one for patterns of at least shortest bytes, and about so many of them.
func newFilter(shortest, patterns int) *filter {
	f := &filter{size: min(shortest, block), quick: new([1 << quickBits / 64]uint64), shift: 32 - quickBits}
	f.stride = min(shortest-f.size+1, maxStride)
	f.mask = uint32(1<<(8*f.size) - 1)
	for f.shift > 32-22 && patterns*f.stride > 1<<(32-f.shift)/256 { // 512 KiB at most
		f.shift--
	}
	f.sure = make([]uint64, 1<<(32-f.shift)/64)
	return f
}

func quickHash(x uint32) uint32 { return x * 0x9E3779B1 >> (32 - quickBits) }

func (f *filter) sureHash(x uint32) uint32 { return (x ^ x>>15) * 0x85EBCA6B >> f.shift }

// window chooses where in a pattern to look for it.
func (f *filter) window(text string) (offset int) {
	best := 1 << 30
	whole := f.stride + f.size - 1
	for at := 0; at <= min(len(text), minWidth)-whole; at++ { // before a second line break could come
		// A block is as likely in other text as it has small letters and spaces; one common block is enough to make a window bad.
		cost := 0
		for i := range f.stride {
			common := 1
			for _, c := range []byte(text[at+i : at+i+f.size]) {
				if 'a' <= c && c <= 'z' || c == ' ' {
					common *= 4
				}
			}
			cost += common
		}
		if cost < best {
			best, offset = cost, at
		}
	}
	f.offset = max(f.offset, offset)
	return offset
}

// add adds the window of a text at an offset; the text has it whole.
func (f *filter) add(text string, offset int) {
	for i := offset; i < offset+f.stride; i++ {
		var b [block]byte
		copy(b[:], text[i:i+f.size])
		x := binary.LittleEndian.Uint32(b[:])
		h := quickHash(x)
		f.quick[h>>6] |= 1 << (h & 63)
		h = f.sureHash(x)
		f.sure[h>>6] |= 1 << (h & 63)
	}
}

// find gives the first place in b, not before from, at which a pattern may begin, and the place up to which the same look
// answers for; without a hit, it is what is left at the end of b, too short to be looked at.
func (f *filter) find(b []byte, from int) (at, upTo int) {
	stride, mask, quick := f.stride, f.mask, f.quick
	i := from + stride - 1
	for ; i+stride+block <= len(b); i += 2 * stride {
		first, second := quickHash(binary.LittleEndian.Uint32(b[i:])&mask), quickHash(binary.LittleEndian.Uint32(b[i+stride:])&mask)
		if (quick[first>>6]>>(first&63)|quick[second>>6]>>(second&63))&1 == 0 {
			continue
		}
		for _, j := range [2]int{i, i + stride} {
			if f.hit(b[j:]) {
				return max(from, j-stride+1-f.offset), j + 1
			}
		}
	}
	if i+block <= len(b) {
		if f.hit(b[i:]) {
			return max(from, i-stride+1-f.offset), i + 1
		}
		i += stride
	}
	return max(from, min(i-stride+1-f.offset, len(b))), len(b)
}

// hit reports whether a block may be one of a window.
func (f *filter) hit(b []byte) bool {
	x := binary.LittleEndian.Uint32(b) & f.mask
	h := quickHash(x)
	if f.quick[h>>6]>>(h&63)&1 == 0 {
		return false
	}
	h = f.sureHash(x)
	return f.sure[h>>6]>>(h&63)&1 != 0
}
