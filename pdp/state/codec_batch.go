package state

import (
	"errors"
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
)

// MaxActorBytes bounds the actor and the verb of a batch, each.
const MaxActorBytes = 1024

// MaxRecordBytes bounds one record and one event, so that stores can keep each in one
// value. It is room for some 150,000 memberships of one user.
const MaxRecordBytes = 768 << 10

// Prepared is a batch that a store can take, and the encoding of its records.
type Prepared struct {
	Batch
	// Keys are those of Puts, then Deletes.
	Keys []Key
	// Bodies are those of Puts. Until [Prepared.Change] has run they may hold
	// ThisRevision.
	Bodies [][]byte
}

// Prepare checks and encodes b, whose parts it keeps. It is the same for every store and
// needs nothing of it, so that the work is done by the caller of Commit and not by the one
// writer of history. The error is a *authz.Error of KindInvalid: b can never be stored.
//
// A batch touches each record once. Its size is that of its records, events and keys; keys
// count twice, since history lists them too.
func Prepare(b Batch) (*Prepared, error) {
	p := &Prepared{Batch: b}
	if err := p.limits(); err != nil {
		return nil, authz.Invalid("batch", "%v", err)
	}
	size, err := p.encode()
	if err != nil {
		return nil, authz.Invalid("batch", "%v", err)
	}
	if size > MaxBatchBytes {
		return nil, authz.Invalid("batch", "%d bytes are more than the limit of %d", size, MaxBatchBytes)
	}
	return p, nil
}

func (p *Prepared) limits() error {
	if n := len(p.Puts) + len(p.Deletes) + len(p.Events); n > MaxBatchRecords {
		return fmt.Errorf("%d records and events are more than the limit of %d", n, MaxBatchRecords)
	}
	if n := len(p.Guards); n > MaxBatchRecords {
		return fmt.Errorf("%d guards are more than the limit of %d", n, MaxBatchRecords)
	}
	if len(p.Actor) > MaxActorBytes || len(p.Verb) > MaxActorBytes {
		return fmt.Errorf("actor or verb is longer than %d bytes", MaxActorBytes)
	}
	if p.Stamp < 0 {
		return errors.New("its stamp is before 1970")
	}
	for _, g := range p.Guards {
		if err := CheckKey(g.Key); err != nil {
			return fmt.Errorf("guard: %w", err)
		}
	}
	return nil
}

// encode fills Keys and Bodies and gives the size of the batch.
func (p *Prepared) encode() (size int, err error) {
	p.Keys = make([]Key, 0, len(p.Puts)+len(p.Deletes))
	p.Bodies = make([][]byte, 0, len(p.Puts))
	touched := newKeySet(cap(p.Keys))
	touch := func(key Key) error {
		if err := CheckKey(key); err != nil {
			return err
		}
		if !touched.add(key) {
			return fmt.Errorf("%v is touched twice", key)
		}
		p.Keys = append(p.Keys, key)
		size += 2 * len(key)
		return nil
	}
	buf := make([]byte, 0, 160*len(p.Puts)) // A job takes about as much.
	for i, rec := range p.Puts {
		if !isRecord(rec) {
			return 0, fmt.Errorf("put %d is %T and no record", i, rec)
		}
		if err := touch(rec.Key()); err != nil {
			return 0, err
		}
		start := len(buf)
		buf = AppendRecord(buf, rec)
		body := buf[start:len(buf):len(buf)]
		if len(body) > MaxRecordBytes {
			return 0, fmt.Errorf("%v has %d bytes, more than the limit of %d", rec.Key(), len(body), MaxRecordBytes)
		}
		p.Bodies = append(p.Bodies, body)
		size += len(body)
	}
	for _, key := range p.Deletes {
		if err := touch(key); err != nil {
			return 0, err
		}
	}
	for _, e := range p.Events {
		if e.Stamp < 0 {
			return 0, errors.New("an event is stamped before 1970")
		}
		if len(e.Data) > MaxRecordBytes {
			return 0, fmt.Errorf("an event has %d bytes, more than the limit of %d", len(e.Data), MaxRecordBytes)
		}
		size += len(e.Data)
	}
	return size, nil
}

// Change gives the batch as the change at rev, every ThisRevision replaced, and the
// [Sum] of each record put. It brings Bodies up to date. The Stamp of a change is that of
// its batch, but never before the one of the change before it.
func (p *Prepared) Change(rev authz.Revision, before authz.Stamp) (c Change, sums []uint32) {
	c = Change{
		Revision: rev, Stamp: max(before, p.Stamp), Actor: p.Actor, Verb: p.Verb,
		Puts: p.Puts, Deletes: p.Deletes, Keys: p.Keys,
	}
	sums = make([]uint32, len(p.Puts))
	copied := false
	for i, rec := range p.Puts {
		if r := Resolve(rec, rev); r != rec {
			if !copied {
				c.Puts, copied = append([]Record(nil), p.Puts...), true
			}
			c.Puts[i] = r
			p.Bodies[i] = AppendRecord(p.Bodies[i][:0], r)
		}
		sums[i] = Sum(p.Keys[i], rev, p.Bodies[i])
	}
	return c, sums
}

// isRecord reports whether rec is one of ours and not nil.
func isRecord(rec Record) bool {
	switch r := rec.(type) {
	case *Instance:
		return r != nil
	case *Catalogue:
		return r != nil
	case *Group:
		return r != nil
	case *Project:
		return r != nil
	case *User:
		return r != nil
	case *Members:
		return r != nil
	case *Allowlist:
		return r != nil
	case *Job:
		return r != nil
	case *Replaced:
		return r != nil
	case *Runner:
		return r != nil
	case *Death:
		return r != nil
	case *Request:
		return r != nil
	case *Leases:
		return r != nil
	case *Directory:
		return r != nil
	}
	return false
}

// keySet finds duplicates. Nearly all batches have a handful of keys, for which a walk
// is cheaper than a map.
type keySet struct {
	few  [8]Key
	n    int
	many map[Key]struct{}
}

func newKeySet(n int) (s keySet) {
	if n > len(s.few) {
		s.many = make(map[Key]struct{}, n)
	}
	return s
}

func (s *keySet) add(key Key) bool {
	if s.many != nil {
		n := len(s.many)
		s.many[key] = struct{}{}
		return len(s.many) > n
	}
	for _, k := range s.few[:s.n] {
		if k == key {
			return false
		}
	}
	s.few[s.n] = key
	s.n++
	return true
}
