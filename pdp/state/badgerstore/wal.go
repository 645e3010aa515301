package badgerstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
)

// What follows reads Badger's write-ahead files (*.mem, version 4 of its format) without
// Badger: opening a store replays them, deletes them, and stops without a word at the
// first byte that is wrong. We want to know where that is going to be beforehand.

// The flags of an entry that matter here.
const (
	metaDelete  = 1 << 0
	metaPointer = 1 << 1
	metaTxn     = 1 << 6
	metaFinTxn  = 1 << 7
)

// walHeader is the length of a file's header: the id of an encryption key, zero for
// none, and twelve random bytes.
const walHeader = 20

// maxWALKey is the longest key that Badger reads back.
const maxWALKey = 1 << 16

// walEntry is one entry; its bytes belong to the file.
type walEntry struct {
	key     []byte // without version
	version uint64
	meta    byte
	value   []byte
}

// wal is what one write-ahead file holds.
type wal struct {
	// first and last are the versions of its transactions, zero when it has none.
	first, last uint64
	entries     []walEntry
	// arena is how much memory replaying it takes in Badger's table.
	arena int64
	// torn says that something follows the last whole transaction: a write cut short by
	// a crash, or damage.
	torn bool
}

// nodeSize bounds what Badger's skip list adds to an entry, with alignment.
const nodeSize = 112

// readWAL reads data as Badger does: whole transactions up to the first thing that is
// none.
func readWAL(data []byte) (w wal, err error) {
	if len(data) < walHeader {
		w.torn = len(data) > 0
		return w, nil
	}
	if id := binary.BigEndian.Uint64(data); id != 0 {
		return w, fmt.Errorf("it names encryption key %d, and this store has none", id)
	}
	rest, whole := data[walHeader:], walHeader
	var open []walEntry // The entries of a transaction without its end.
	for {
		e, n := readWALEntry(rest)
		if n == 0 {
			break
		}
		if !w.take(e, &open) {
			break
		}
		if rest = rest[n:]; len(open) == 0 {
			whole = len(data) - len(rest)
		}
	}
	w.torn = !zeros(data[whole:])
	return w, nil
}

// take adds e, which belongs to a transaction whose entries so far are open. It gives
// false where replay would stop.
func (w *wal) take(e walEntry, open *[]walEntry) bool {
	switch {
	case e.meta&metaTxn != 0:
		if len(*open) > 0 && (*open)[0].version != e.version {
			return false
		}
		*open = append(*open, e)
		return true
	case e.meta&metaFinTxn != 0:
		ts, err := strconv.ParseUint(string(e.value), 10, 64)
		if err != nil || len(*open) == 0 || ts != (*open)[0].version {
			return false
		}
		for _, e := range *open {
			w.arena += int64(len(e.key) + 8 + len(e.value) + nodeSize)
		}
		w.entries = append(w.entries, *open...)
		if *open = (*open)[:0]; w.first == 0 {
			w.first = ts
		}
		w.last = ts
		return true
	}
	return false // We write nothing outside of transactions.
}

// readWALEntry reads one entry and gives its length, zero for none or a damaged one.
func readWALEntry(b []byte) (e walEntry, n int) {
	if len(b) < 2 {
		return e, 0
	}
	e.meta = b[0]
	at := 2
	var lengths [3]uint64 // Of the key, of the value, and the expiry, which we never set.
	for i := range lengths {
		v, k := binary.Uvarint(b[at:])
		if k <= 0 {
			return e, 0
		}
		lengths[i], at = v, at+k
	}
	key, value := lengths[0], lengths[1]
	if key <= 8 || key > maxWALKey || value > uint64(len(b)) || uint64(at)+key+value+crc32.Size > uint64(len(b)) {
		return e, 0
	}
	end := at + int(key+value)
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return e, 0
	}
	keyEnd := at + int(key) - 8
	e.key, e.value = b[at:keyEnd:keyEnd], b[keyEnd+8:end:end]
	e.version = ^binary.BigEndian.Uint64(b[keyEnd:])
	return e, end + crc32.Size
}

func zeros(b []byte) bool {
	for len(b) >= 8 {
		if binary.NativeEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
