package etcdstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// format is the version of everything below the prefix.
const format = 1

// The places below the prefix.
const (
	headName   = "head"
	markerName = "folded"
	logDir     = "log/"    // one key for each transaction
	recordDir  = "record/" // state.Key: the record as of the marker, or later
	eventDir   = "event/"  // second, transaction: events of folded transactions
	stageDir   = "stage/"  // stage, chunk
	// condemned, stage: no entry may name it any more.
	condemnedDir = "condemned/"
	clusterName  = "cluster" // the id of the cluster that the store was made in
)

// point is the store after one transaction.
type point struct {
	txn uint64 // counts transactions, those without a revision too
	// mark is as the contract has it.
	mark  state.Mark
	stamp authz.Stamp
	seq   uint64 // events ever taken
}

// id names one transaction of one writer, so that it knows its own again.
type id [16]byte

// seal appends the checksum of a value in its place.
func seal(key string, value []byte) []byte {
	return binary.BigEndian.AppendUint32(value, sum(key, value))
}

func sum(key string, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, []byte(key)), castagnoli, value)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// unseal checks what seal wrote. key is without the prefix.
func unseal(key string, value []byte) ([]byte, error) {
	n := len(value) - 4
	if n < 1 || sum(key, value[:n]) != binary.BigEndian.Uint32(value[n:]) {
		return nil, fmt.Errorf("%q is damaged or was not written by this program: its checksum does not fit", key)
	}
	if value[0] != format {
		return nil, fmt.Errorf("%q has format %d, this program knows %d: it was written by a newer one", key, value[0], format)
	}
	return value[1:n], nil
}

// reader takes fields off a value.
type reader struct {
	b   []byte
	err error
}

var errShort = errors.New("it is too short")

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err, r.b = errShort, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.err, r.b = errShort, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) text() []byte { return r.take(r.uint()) }

// count reads a number of things of which each takes at least one byte.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.err, r.b = errShort, nil
		return 0
	}
	return int(n)
}

func (r *reader) array() (a [16]byte) {
	copy(a[:], r.take(16))
	return a
}

func (r *reader) stamp() authz.Stamp { return authz.Stamp(r.uint()) }

func appendText[T string | []byte | state.Key](dst []byte, text T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

func (p point) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, p.txn)
	dst = binary.AppendUvarint(dst, p.mark.Epoch.Counter)
	dst = append(dst, p.mark.Epoch.ID[:]...)
	dst = binary.AppendUvarint(dst, uint64(p.mark.Revision))
	dst = append(dst, p.mark.Chain[:]...)
	dst = binary.AppendUvarint(dst, uint64(p.stamp))
	return binary.AppendUvarint(dst, p.seq)
}

func (r *reader) point() (p point) {
	p.txn = r.uint()
	p.mark.Epoch = state.Epoch{Counter: r.uint(), ID: r.array()}
	p.mark.Revision = authz.Revision(r.uint())
	p.mark.Chain = r.array()
	p.stamp = r.stamp()
	p.seq = r.uint()
	return p
}

// encodePoint gives the value of the head or of the marker.
func encodePoint(name string, p point) string {
	return string(seal(name, p.append([]byte{format})))
}

func decodePoint(name string, value []byte) (p point, err error) {
	b, err := unseal(name, value)
	if err != nil {
		return p, err
	}
	r := reader{b: b}
	p = r.point()
	return p, r.end(name)
}

// logName is the name of a transaction's entry: its number, and the revision before it, so
// that names alone say what is where.
func logName(txn uint64, before authz.Revision) string {
	return fmt.Sprintf("%s%016x-%016x", logDir, txn, uint64(before))
}

// logFrom is where the entries from txn on begin.
func logFrom(txn uint64) string { return fmt.Sprintf("%s%016x", logDir, txn) }

func parseLogName(name string) (sp span, err error) {
	txn, before, ok := strings.Cut(strings.TrimPrefix(name, logDir), "-")
	a, err1 := strconv.ParseUint(txn, 16, 64)
	b, err2 := strconv.ParseUint(before, 16, 64)
	sp = span{a, authz.Revision(b)}
	if !ok || err1 != nil || err2 != nil || logName(a, sp.before) != name {
		return sp, fmt.Errorf("%q is not the name of an entry of the log", name)
	}
	return sp, nil
}

// span says where an entry's changes are: after the revision before, up to that of the next.
type span struct {
	txn    uint64
	before authz.Revision
}

func recordName(key state.Key) string { return recordDir + string(key) }

func encodeRecord(key state.Key, mod authz.Revision, body []byte) string {
	b := append(binary.AppendUvarint([]byte{format}, uint64(mod)), body...)
	return string(seal(recordName(key), b))
}

func decodeRecord(key state.Key, value []byte, dec *state.Decoder) (rec state.Record, mod authz.Revision, err error) {
	b, err := unseal(recordName(key), value)
	if err != nil {
		return nil, 0, err
	}
	r := reader{b: b}
	mod = authz.Revision(r.uint())
	if r.err != nil {
		return nil, 0, r.err
	}
	rec, err = dec.Decode(key, r.b)
	return rec, mod, err
}

// bucket is the width of the keys of events: those of one second are sorted when they are
// read.
const bucket = 1_000_000_000

func eventFrom(stamp authz.Stamp) string {
	return fmt.Sprintf("%s%016x", eventDir, uint64(stamp)/bucket)
}

// eventName is the name of one part of the events that a transaction has in one second.
func eventName(stamp authz.Stamp, txn uint64, part int) string {
	return fmt.Sprintf("%s-%016x-%04x", eventFrom(stamp), txn, part)
}

func stageName(of id, chunk int) string { return fmt.Sprintf("%s%x/%04x", stageDir, of[:], chunk) }
