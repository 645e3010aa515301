package state

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"
)

// text keeps everything of variable length: names, job ids, and lists as packed
// bytes. Entries are written once and never overwritten, so a string handed out stays
// what it is for as long as anybody holds it, without copying; it keeps one chunk of
// memory from being collected. A changed entry is written anew. A chunk with too much
// garbage in it is copied out of and dropped, so the waste is bounded.
//
// A row holds the ref of its entry in a field, and the entry names that field, so
// that it can be told when the entry moves. The zero ref is the empty string.
type text struct {
	chunks []chunk
	free   []uint32 // chunk numbers to use again
	cur    uint32   // the chunk that out writes
	out    *strings.Builder
	field  func(owner) *uint32
}

type chunk struct {
	s    string
	live uint32 // bytes of entries that are not garbage
}

// owner names the field that holds an entry's ref.
type owner struct {
	what textKind
	row  uint32
}

const (
	chunkBytes = 32 << 10
	// Entries above this get a chunk of their own.
	bigEntry = chunkBytes / 4
	// A ref is chunk<<refBits | offset/refAlign.
	refBits  = 13
	refAlign = chunkBytes >> refBits
	// textHead is the part of an entry before its length: kind and row of the owner.
	textHead = 5
)

// newText makes one that asks field where an owner's ref is. Chunk 0 stays empty, so
// that no entry has the zero ref.
func newText(field func(owner) *uint32) text {
	return text{chunks: make([]chunk, 1), field: field}
}

// get gives the entry at ref.
func (t *text) get(ref uint32) string {
	if ref == 0 {
		return ""
	}
	s := t.chunks[ref>>refBits].s[ref&(1<<refBits-1)*refAlign+textHead:]
	if n := s[0]; n < 0x80 {
		return s[1 : 1+n]
	}
	n, w := uvarint(s)
	return s[w : w+n]
}

// set makes s the entry of the owner's field.
func (t *text) set(o owner, s string) {
	f := t.field(o)
	old := *f
	if t.get(old) == s {
		return
	}
	*f = 0
	if s != "" {
		*f = t.write(o, s)
	}
	t.drop(old)
}

// drop makes the entry at ref garbage. Its field must not hold ref any more.
func (t *text) drop(ref uint32) {
	if ref == 0 {
		return
	}
	i := ref >> refBits
	c := &t.chunks[i]
	c.live -= uint32(entrySize(c.s[ref&(1<<refBits-1)*refAlign:]))
	if i == t.cur && t.out != nil {
		return
	}
	if int(c.live) <= len(c.s)*3/4 {
		t.compact(i)
	}
}

// compact copies what is alive in a chunk elsewhere and drops the chunk.
func (t *text) compact(i uint32) {
	s := t.chunks[i].s
	for off := 0; t.chunks[i].live > 0; {
		e := s[off:]
		size := entrySize(e)
		f := t.field(owner{textKind(e[0]), binary.LittleEndian.Uint32([]byte(e[1:textHead]))})
		if f != nil && *f == i<<refBits|uint32(off/refAlign) {
			o := owner{textKind(e[0]), binary.LittleEndian.Uint32([]byte(e[1:textHead]))}
			*f = t.write(o, t.get(*f))
			t.chunks[i].live -= uint32(size)
		}
		off += size
	}
	t.chunks[i] = chunk{}
	t.free = append(t.free, i)
}

// write adds an entry and gives its ref.
func (t *text) write(o owner, s string) uint32 {
	var head [textHead + binary.MaxVarintLen32]byte
	head[0] = byte(o.what)
	binary.LittleEndian.PutUint32(head[1:], o.row)
	h := textHead + binary.PutUvarint(head[textHead:], uint64(len(s)))
	size := (h + len(s) + refAlign - 1) &^ (refAlign - 1)
	if size > bigEntry {
		var b strings.Builder
		b.Grow(size)
		add(&b, head[:h], s, size)
		i := t.chunk()
		t.chunks[i] = chunk{b.String(), uint32(size)}
		return i << refBits
	}
	if t.out == nil || t.out.Len()+size > chunkBytes {
		t.out = new(strings.Builder)
		t.out.Grow(chunkBytes)
		t.cur = t.chunk()
	}
	off := t.out.Len()
	add(t.out, head[:h], s, size)
	c := &t.chunks[t.cur]
	c.s = t.out.String()
	c.live += uint32(size)
	return t.cur<<refBits | uint32(off/refAlign)
}

// chunk gives the number of an empty chunk.
func (t *text) chunk() uint32 {
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		return i
	}
	i := uint32(len(t.chunks))
	if i >= 1<<(32-refBits) {
		panic(fmt.Sprintf("state: the names and lists of this world need more than %d GiB", i>>15))
	}
	t.chunks = append(t.chunks, chunk{})
	return i
}

// lent gives b as a string, for who does not keep it.
func lent(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func add(b *strings.Builder, head []byte, s string, size int) {
	b.Write(head)
	b.WriteString(s)
	b.WriteString("\x00\x00\x00"[:size-len(head)-len(s)])
}

// entrySize is the size of the entry at the start of e.
func entrySize(e string) int {
	n, w := uvarint(e[textHead:])
	return (textHead + w + n + refAlign - 1) &^ (refAlign - 1)
}

// uvarint is binary.Uvarint for strings: the value and its width.
func uvarint(s string) (n, width int) {
	for shift := 0; ; shift += 7 {
		b := s[width]
		width++
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n, width
		}
	}
}
