package state

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/jobward/jobward/pdp/authz"
)

// The encoding of records, as stores and backups keep them. A record is its [Key],
// which holds the id, and a body: one version byte, then the fields in a fixed order.
// Numbers are varints in their shortest form, booleans are bits of one byte, lists and
// texts begin with their length. One record has exactly one encoding, and bytes that
// are not an encoding are refused: the chain of a [Mark] rests on that.
//
// A changed field list gets the next version; bodies of every older version stay
// readable. A program refuses versions it does not know (new stores and old programs).

// bodyVersion is the version that AppendRecord writes, for every kind.
const bodyVersion = 1

// AppendRecord appends the body of rec to dst. It panics on a nil record and on one
// that is not of this package; [CheckBatch] keeps both away from stores.
func AppendRecord(dst []byte, rec Record) []byte {
	dst = append(dst, bodyVersion)
	switch r := rec.(type) {
	case *Instance:
		return appendInstance(dst, r)
	case *Catalogue:
		return appendText(dst, r.Document)
	case *Group:
		return appendGroup(dst, r)
	case *Project:
		return appendProject(dst, r)
	case *User:
		return appendUser(dst, r)
	case *Members:
		return appendMembers(dst, r)
	case *Allowlist:
		return appendAllowlist(dst, r)
	case *Job:
		return appendJob(dst, r)
	case *Replaced:
		dst = appendText(dst, r.Job)
		return binary.AppendVarint(dst, int64(r.At))
	case *Runner:
		return binary.AppendVarint(dst, int64(r.Beat))
	case *Death:
		dst = binary.AppendUvarint(dst, uint64(r.Before))
		return binary.AppendVarint(dst, int64(r.At))
	case *Request:
		dst = binary.AppendUvarint(dst, r.Fingerprint)
		dst = binary.AppendUvarint(dst, uint64(r.Done))
		return binary.AppendVarint(dst, int64(r.At))
	case *Leases:
		dst = binary.AppendVarint(dst, int64(r.Longest))
		dst = append(dst, bits(r.Out))
		dst = binary.AppendUvarint(dst, r.Epoch)
		return append(dst, r.SealKey[:]...)
	case *Directory:
		return dst
	}
	panic(fmt.Sprintf("state: %T is no record", rec))
}

// DecodeRecord reads what AppendRecord wrote for the record at key. The record shares
// no memory with body. Any bytes are safe to give; the error says what is wrong with
// them.
func DecodeRecord(key Key, body []byte) (Record, error) {
	return new(Decoder).Decode(key, body)
}

// CheckKey reports what is wrong with a key that no record of this package can have.
func CheckKey(key Key) error {
	if key == "" {
		return fmt.Errorf("empty key")
	}
	id := string(key[1:])
	switch kind := key.Kind(); kind {
	case KindInstance, KindCatalogue, KindLeases, KindDirectory:
		if id != "" {
			return fmt.Errorf("key of the one %v has %d bytes of id", kind, len(id))
		}
	case KindGroup, KindProject, KindUser, KindMembers, KindAllowlist, KindDeath:
		n, ok := key.number()
		if kind == KindDeath {
			n &^= userDeath
		}
		if !ok || n < 1 || n > authz.MaxID {
			return fmt.Errorf("%v id %x is not eight bytes with a number from 1 to %d", kind, id, authz.MaxID)
		}
	case KindJob:
		if !authz.JobID(id).Valid() {
			return fmt.Errorf("job id %q is not 1 to %d printable characters", clip(id), authz.MaxJobID)
		}
	case KindReplaced:
		if len(id) != len(authz.Digest{}) {
			return fmt.Errorf("digest has %d bytes instead of %d", len(id), len(authz.Digest{}))
		}
	case KindRunner, KindRequest:
		if id == "" || len(id) > MaxNameBytes {
			return fmt.Errorf("%v id has %d bytes instead of 1 to %d", kind, len(id), MaxNameBytes)
		}
	default:
		return fmt.Errorf("unknown kind of record %d", uint8(kind))
	}
	return nil
}

// MaxNameBytes bounds the ids of runners and requests.
const MaxNameBytes = 512

// userDeath marks the death of a user in the number of its key.
const userDeath = 1 << 62

// number reads the number of a key whose id is one.
func (k Key) number() (int64, bool) {
	if len(k) != 9 {
		return 0, false
	}
	var b [8]byte
	copy(b[:], k[1:])
	return int64(binary.BigEndian.Uint64(b[:])), true
}

var kindNames = [NumKinds]string{
	"none", "instance", "catalogue", "group", "project", "user", "members", "allowlist",
	"job", "replaced", "runner", "death", "request", "leases", "directory",
}

// String gives the kind's name for messages.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// String gives the key in words: `job "4711"`, "project 7".
func (k Key) String() string {
	if CheckKey(k) != nil {
		return fmt.Sprintf("key %x", string(k))
	}
	kind := k.Kind()
	switch n, _ := k.number(); kind {
	case KindInstance, KindCatalogue, KindLeases, KindDirectory:
		return kind.String()
	case KindJob, KindRunner, KindRequest:
		return fmt.Sprintf("%v %q", kind, string(k[1:]))
	case KindReplaced:
		return fmt.Sprintf("%v %x", kind, string(k[1:5]))
	case KindDeath:
		if n&userDeath != 0 {
			return fmt.Sprintf("death of user %d", n&^userDeath)
		}
		return fmt.Sprintf("death of project %d", n)
	default:
		return fmt.Sprintf("%v %d", kind, n)
	}
}

// Sum is the checksum of a record in its place: of its key, the revision that last
// changed it, and its body. It is kept with the record and in history.
func Sum(key Key, mod authz.Revision, body []byte) uint32 {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(mod))
	sum := crc32.Update(0, castagnoli, b[:])
	sum = crc32.Update(sum, castagnoli, []byte(key))
	return crc32.Update(sum, castagnoli, body)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Resolve gives rec with every [ThisRevision] replaced by rev: rec itself when there is
// none, else a copy, since a record given to a store must not be changed.
func Resolve(rec Record, rev authz.Revision) Record {
	switch r := rec.(type) {
	case *Job:
		if r.Issued == ThisRevision || r.Ended == ThisRevision {
			c := *r
			resolve(&c.Issued, rev)
			resolve(&c.Ended, rev)
			return &c
		}
	case *Death:
		if r.Before == ThisRevision {
			c := *r
			c.Before = rev
			return &c
		}
	case *Request:
		if r.Done == ThisRevision {
			c := *r
			c.Done = rev
			return &c
		}
	}
	return rec
}

func resolve(field *authz.Revision, rev authz.Revision) {
	if *field == ThisRevision {
		*field = rev
	}
}

// clip shortens hostile text for a message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
