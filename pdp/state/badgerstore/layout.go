package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// What Badger holds, by the first byte of the key:
//
//	e  stamp sequence      events of one transaction, the key being that of the newest: sum,
//	                       then stamp, sequence and data of each
//	h                      the head: sum, then the fields of type head
//	r  state.Key           a record: sum, revision that last changed it, body
//	t  revision chunk      history of one transaction that began at the revision: sum, chain
//	                       before it, the changes; cut into chunks when long
//
// Every value begins with a CRC-32C over its key and the rest of it, since Badger does not
// check the blocks that it reads. The value of a record holds [state.Sum].
const (
	prefixEvent   = 'e'
	prefixHead    = 'h'
	prefixRecord  = 'r'
	prefixHistory = 't'
)

// schema is the version of this layout. A store with a higher one is refused.
const schema = 1

// maxChunk bounds one value of history, below the threshold over which Badger would
// put it in the value log.
const maxChunk = 512 << 10

var errDamaged = errors.New("its checksum does not fit")

// sealed gives value space for a sum, to be filled by seal once the rest is there.
func sealed(dst []byte) []byte { return append(dst, 0, 0, 0, 0) }

// seal writes the sum of key and the rest of value into the first bytes of value.
func seal(key, value []byte) []byte {
	binary.LittleEndian.PutUint32(value, sumOf(key, value[4:]))
	return value
}

// unseal checks value and gives it without its sum.
func unseal(key, value []byte) ([]byte, error) {
	if len(value) < 4 || binary.LittleEndian.Uint32(value) != sumOf(key, value[4:]) {
		return nil, errDamaged
	}
	return value[4:], nil
}

func sumOf(key, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, rest)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// head is rewritten by every transaction: everything that must agree with the records.
type head struct {
	mark  state.Mark
	stamp authz.Stamp
	// seq counts all events ever stored.
	seq uint64
	// first is the oldest change that history holds; one more than the revision of mark
	// when it holds none.
	first authz.Revision
	// counts are the records there are of each kind.
	counts [state.NumKinds]uint64
}

func headKey() []byte { return []byte{prefixHead} }

func (h *head) encode(dst []byte) []byte {
	start := len(dst)
	dst = sealed(dst)
	dst = append(dst, schema)
	dst = binary.BigEndian.AppendUint64(dst, h.mark.Epoch.Counter)
	dst = append(dst, h.mark.Epoch.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.mark.Revision))
	dst = append(dst, h.mark.Chain[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.stamp))
	dst = binary.BigEndian.AppendUint64(dst, h.seq)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.first))
	dst = append(dst, byte(len(h.counts)))
	for _, n := range h.counts {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	seal(headKey(), dst[start:])
	return dst
}

func decodeHead(value []byte) (h head, err error) {
	b, err := unseal(headKey(), value)
	if err != nil {
		return h, fmt.Errorf("the head record: %w", err)
	}
	if len(b) > 0 && b[0] > schema {
		return h, fmt.Errorf("the store has layout version %d and this program knows %d: it was written by a newer one", b[0], schema)
	}
	const fixed = 1 + 8 + 16 + 8 + 16 + 8 + 8 + 8 + 1
	if len(b) < fixed || len(b) != fixed+8*int(b[fixed-1]) || int(b[fixed-1]) > len(h.counts) {
		return h, fmt.Errorf("the head record has %d bytes, which is not its length", len(b))
	}
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	h.mark.Epoch.Counter = u64(1)
	copy(h.mark.Epoch.ID[:], b[9:])
	h.mark.Revision = authz.Revision(u64(25))
	copy(h.mark.Chain[:], b[33:])
	h.stamp = authz.Stamp(u64(49))
	h.seq = u64(57)
	h.first = authz.Revision(u64(65))
	for i := range int(b[fixed-1]) {
		h.counts[i] = u64(fixed + 8*i)
	}
	return h, nil
}

func appendRecordKey(dst []byte, key state.Key) []byte {
	return append(append(dst, prefixRecord), key...)
}

// appendRecord makes the value of a record whose [state.Sum] is sum.
func appendRecord(dst []byte, mod authz.Revision, sum uint32, body []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	dst = binary.AppendUvarint(dst, uint64(mod))
	return append(dst, body...)
}

// openRecord takes the value of the record at key apart and checks it.
func openRecord(key state.Key, value []byte) (mod authz.Revision, body []byte, err error) {
	if len(value) < 4 {
		return 0, nil, errDamaged
	}
	rev, n := binary.Uvarint(value[4:])
	if n <= 0 {
		return 0, nil, errDamaged
	}
	mod, body = authz.Revision(rev), value[4+n:]
	if binary.LittleEndian.Uint32(value) != state.Sum(key, mod, body) {
		return 0, nil, errDamaged
	}
	return mod, body, nil
}

func appendHistoryKey(dst []byte, first authz.Revision, chunk int) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, prefixHistory), uint64(first))
	return binary.BigEndian.AppendUint16(dst, uint16(chunk))
}

func parseHistoryKey(key []byte) (first authz.Revision, chunk int, ok bool) {
	if len(key) != 11 || key[0] != prefixHistory {
		return 0, 0, false
	}
	return authz.Revision(binary.BigEndian.Uint64(key[1:])), int(binary.BigEndian.Uint16(key[9:])), true
}

func appendEventKey(dst []byte, id state.EventID) []byte {
	return id.Append(append(dst, prefixEvent))
}

func parseEventKey(key []byte) (state.EventID, bool) {
	if len(key) == 0 || key[0] != prefixEvent {
		return state.EventID{}, false
	}
	return state.DecodeEventID(key[1:])
}
