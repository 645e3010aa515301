package badgerstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4/options"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

func someHead() head {
	h := head{stamp: 7, seq: 8, first: 9}
	h.mark.Epoch.Counter, h.mark.Epoch.ID = 2, [16]byte{1, 2}
	h.mark.Revision, h.mark.Chain = 11, [16]byte{3, 4}
	for i := range h.counts {
		h.counts[i] = uint64(i * 1000)
	}
	return h
}

func TestHeadRoundTrips(t *testing.T) {
	h := someHead()
	value := h.encode(nil)
	got, err := decodeHead(value)
	if err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("%+v became %+v: %v", h, got, err)
	}
	for i := range value {
		bad := bytes.Clone(value)
		bad[i] ^= 1
		if _, err := decodeHead(bad); err == nil {
			t.Errorf("byte %d can change unseen", i)
		}
		if _, err := decodeHead(value[:i]); err == nil {
			t.Errorf("a head of %d bytes is read", i)
		}
	}
	value[4] = schema + 1
	seal(headKey(), value)
	if _, err := decodeHead(value); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a head of a later layout: %v", err)
	}
}

func TestMarkSlots(t *testing.T) {
	dir := t.TempDir()
	if _, err := readMark(dir); err != errNoMark {
		t.Errorf("no file: %v", err)
	}
	h := someHead()
	if err := createMark(dir, mark{Mark: h.mark}); err != nil {
		t.Fatal(err)
	}
	f, err := openMark(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.f.Close()
	for txn := uint64(1); txn < 6; txn++ {
		want := mark{h.mark, txn}
		want.Revision = authz.Revision(txn * 10)
		if err := f.write(want); err != nil {
			t.Fatal(err)
		}
		if got, err := readMark(dir); err != nil || got != want {
			t.Errorf("wrote %+v, read %+v: %v", want, got, err)
		}
	}
	path := filepath.Join(dir, markName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(at int, with string) (mark, error) {
		b := bytes.Clone(whole)
		copy(b[at:], with)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return readMark(dir)
	}
	if got, err := try(markSlot+20, "torn"); err != nil || got.txn != 4 {
		t.Errorf("with the newer slot torn: %+v %v", got, err)
	}
	if got, err := try(20, "torn"); err != nil || got.txn != 5 {
		t.Errorf("with the older slot torn: %+v %v", got, err)
	}
	if _, err := try(0, strings.Repeat("x", 2*markSlot)); err == nil {
		t.Error("two damaged slots were read")
	}
	if _, err := try(0, strings.Repeat(strings.Replace(markMagic, "1", "2", 1)+strings.Repeat("\x00", markSlot-len(markMagic)), 2)); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a mark of a later version: %v", err)
	}
}

// TestUnreadableDisk takes a mapped file away, which is what a disk that cannot read looks
// like: a fault of memory, to be turned into an error.
func TestUnreadableDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "000001.sst")
	if err := os.WriteFile(path, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := mapFile(path)
	if err != nil {
		t.Fatal(err)
	}
	im := &image{mapped: [][]byte{data}}
	defer im.close()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := openTable(data, 1, options.None); err == nil {
		t.Error("a table that cannot be read was opened")
	}
}

func TestRecordValue(t *testing.T) {
	key := state.GroupKey(3)
	body := state.AppendRecord(nil, &state.Group{ID: 3, Name: "g"})
	value := appendRecord(nil, 300, state.Sum(key, 300, body), body)
	if mod, got, err := openRecord(key, value); err != nil || mod != 300 || !bytes.Equal(got, body) {
		t.Errorf("mod %d body %x: %v", mod, got, err)
	}
	for i := range value {
		bad := bytes.Clone(value)
		bad[i] ^= 0x10
		if _, _, err := openRecord(key, bad); err == nil {
			t.Errorf("byte %d can change unseen", i)
		}
	}
	if _, _, err := openRecord(state.GroupKey(4), value); err == nil {
		t.Error("a record was read in the place of another")
	}
}

// TestNewFilesAreNoticed compares what the store believes of Badger's files with what is there.
func TestNewFilesAreNoticed(t *testing.T) {
	s, err := Open(context.Background(), Options{Dir: t.TempDir(), Ballast: -1, Memtable: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Attach(context.Background(), sink{}); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	first, begun := s.files.n, 0
	for i := range 3000 {
		b := state.Batch{Puts: []state.Record{&state.Group{ID: authz.GroupID(1 + i%50), Name: strings.Repeat("x", rnd.IntN(1<<rnd.IntN(13)+1))}}}
		for range rnd.IntN(3) {
			b.Events = append(b.Events, state.Event{Stamp: authz.Stamp(rnd.Int64())})
		}
		if _, err := s.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		var there memFiles
		if err := there.find(s.badgerDir(), 0); err != nil {
			t.Fatal(err)
		}
		if there.n != s.files.n {
			t.Fatalf("batch %d: file %d is there, and the store knows of %d", i, there.n, s.files.n)
		}
		begun = s.files.n - first
	}
	if begun < 3 {
		t.Errorf("only %d files were begun", begun)
	}
}

func FuzzReadPack(f *testing.F) {
	key, value, _ := appendPack(nil, []storedEvent{{state.EventID{Stamp: 1, Seq: 2}, 1, []byte("a")}, {state.EventID{Stamp: 300, Seq: 1}, 2, nil}})
	f.Add(key, value[4:])
	f.Fuzz(func(t *testing.T, key, rest []byte) {
		value := seal(key, append(sealed(nil), rest...))
		events, err := readPack(nil, key, value)
		if err == nil && len(events) == 0 {
			t.Error("a pack without events was read")
		}
	})
}

// walOf makes a write-ahead file of so many transactions, as Badger would.
func walOf(rnd *rand.Rand, transactions int) []byte {
	data := make([]byte, walHeader)
	for i := range transactions {
		for range 1 + rnd.IntN(3) {
			data = appendWALEntry(data, metaTxn, []byte("key"), uint64(i+1), make([]byte, rnd.IntN(300)))
		}
		data = appendWALEntry(data, metaFinTxn, []byte("!badger!txn"), uint64(i+1), []byte{byte('0' + i + 1)})
	}
	return append(data, make([]byte, 100)...)
}

func TestReadWAL(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	data := walOf(rnd, 5)
	w, err := readWAL(data)
	if err != nil || w.first != 1 || w.last != 5 || w.torn {
		t.Fatalf("first %d last %d torn %v: %v", w.first, w.last, w.torn, err)
	}
	for i := walHeader; i < len(data)-100; i++ {
		bad := bytes.Clone(data)
		bad[i] ^= 4
		if w, _ := readWAL(bad); w.last == 5 || !w.torn {
			t.Errorf("byte %d can change unseen: last %d, torn %v", i, w.last, w.torn)
		}
	}
}

func FuzzReadWAL(f *testing.F) {
	f.Add(walOf(rand.New(rand.NewPCG(1, 2)), 3))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := readWAL(data)
		if err == nil && len(w.entries) > 0 && (w.first == 0 || w.last == 0) {
			t.Errorf("%d entries without versions", len(w.entries))
		}
	})
}

func appendWALEntry(dst []byte, meta byte, key []byte, version uint64, value []byte) []byte {
	start := len(dst)
	dst = append(dst, meta, 0)
	dst = binary.AppendUvarint(dst, uint64(len(key)+8))
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	dst = binary.AppendUvarint(dst, 0)
	dst = append(dst, key...)
	dst = binary.BigEndian.AppendUint64(dst, ^version)
	dst = append(dst, value...)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}
