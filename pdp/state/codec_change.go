package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// ChainNext gives the chain checksum of a [Mark] after one more change: the first half
// of the SHA-256 of the chain before it and the change's own bytes, which
// [AppendChange] made. The chain of an empty store is zero.
func ChainNext(before [16]byte, change []byte) [16]byte {
	var small [512]byte
	sum := sha256.Sum256(append(append(small[:0], before[:]...), change...))
	return [16]byte(sum[:16])
}

// AppendChange appends the one encoding of a change as history keeps it: who did what
// when, the keys, and the [Sum] of each record put, in the order of c.Puts. The contents
// are not in it, but a record that differs has another sum.
func AppendChange(dst []byte, c *Change, sums []uint32) []byte {
	dst = append(dst, bodyVersion)
	dst = binary.AppendUvarint(dst, uint64(c.Revision))
	dst = binary.AppendVarint(dst, int64(c.Stamp))
	dst = appendText(dst, c.Actor)
	dst = appendText(dst, c.Verb)
	dst = binary.AppendUvarint(dst, uint64(len(sums)))
	dst = binary.AppendUvarint(dst, uint64(len(c.Keys)-len(sums)))
	for i, key := range c.Keys {
		dst = appendText(dst, key)
		if i < len(sums) {
			dst = binary.LittleEndian.AppendUint32(dst, sums[i])
		}
	}
	return dst
}

// DecodeChange reads one change that AppendChange wrote and gives the bytes after it.
// Puts is nil, Keys has the keys of records put and then those deleted, and sums one
// checksum for each put. Any bytes are safe to give.
func DecodeChange(b []byte) (c Change, sums []uint32, rest []byte, err error) {
	d := Decoder{body: b}
	if v := d.byte("version"); d.err == nil && v != bodyVersion {
		return c, nil, nil, fmt.Errorf("change has encoding version %d, this program knows %d", v, bodyVersion)
	}
	c.Revision = d.revision("revision")
	c.Stamp = d.stamp("time")
	c.Actor = d.text("actor")
	c.Verb = d.text("verb")
	puts := d.count("puts", 6)
	deletes := d.count("deletes", 2)
	if d.err == nil && puts+deletes > 0 {
		c.Keys = make([]Key, puts+deletes)
		sums = make([]uint32, puts)
	}
	// The keys share one string: a large store has millions of them in its history.
	body, starts := d.body, len(d.body)
	for i := range c.Keys {
		d.take("key", d.count("key", 1))
		if i < puts {
			if sum := d.take("sum", 4); sum != nil {
				sums[i] = binary.LittleEndian.Uint32(sum)
			}
		}
	}
	keys := string(body[:starts-len(d.body)])
	for i := 0; i < len(c.Keys) && d.err == nil; i++ {
		n, w := uvarint(keys)
		c.Keys[i], keys = Key(keys[w:w+n]), keys[w+n:]
		if i < puts {
			keys = keys[4:]
		}
	}
	if deletes > 0 && d.err == nil {
		c.Deletes = c.Keys[puts:]
	}
	if d.err != nil {
		return Change{}, nil, nil, fmt.Errorf("change: %w", d.err)
	}
	return c, sums, d.body, nil
}
