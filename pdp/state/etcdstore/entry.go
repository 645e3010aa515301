package etcdstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// entry is one transaction: what the log has of it, and what follows from that.
type entry struct {
	id            id
	before, after point
	changes       []state.Change
	bodies        [][][]byte // of the puts of each change
	events        []event
	size          int
	// staged is not zero when the batches stand in chunks.
	staged id
	// at is etcd's revision of the transaction.
	at int64
}

type event struct {
	state.EventID
	state.Event
}

// replay works out what the batches do after a point. It is the same for the writer of an
// entry and for everybody who reads it.
func (e *entry) replay(batches []*state.Prepared) {
	at := e.before
	at.txn++
	var buf []byte
	for _, p := range batches {
		before := at.stamp
		at.stamp = max(at.stamp, p.Stamp)
		if len(p.Keys) > 0 {
			c, sums := p.Change(at.mark.Revision+1, before)
			buf = state.AppendChange(buf[:0], &c, sums)
			at.mark.Revision, at.mark.Chain = c.Revision, state.ChainNext(at.mark.Chain, buf)
			c.Chain = at.mark.Chain
			e.changes, e.bodies = append(e.changes, c), append(e.bodies, p.Bodies)
		}
		for _, ev := range p.Events {
			at.seq++
			ev.Revision = at.mark.Revision
			e.events = append(e.events, event{state.EventID{Stamp: ev.Stamp, Seq: at.seq}, ev})
		}
	}
	e.after = at
}

func (e *entry) name() string { return logName(e.after.txn, e.before.mark.Revision) }

// The ways in which the batches of an entry are kept.
const (
	inline = iota
	staged
)

// encode gives the value of the entry's key. Batches that are staged are not in it.
func (e *entry) encode(batches []*state.Prepared, st *stage) []byte {
	b := append([]byte{format}, e.id[:]...)
	b = e.before.append(b)
	b = e.after.append(b)
	if st != nil {
		b = append(b, staged)
		b = append(b, st.id[:]...)
		b = binary.AppendUvarint(b, uint64(st.size))
		b = binary.AppendUvarint(b, uint64(st.sum))
	} else {
		b = append(b, inline)
		for _, p := range batches {
			b = appendBatch(b, p)
		}
	}
	return seal(e.name(), b)
}

// appendBatch appends what of a batch others need. Guards have been judged.
func appendBatch(b []byte, p *state.Prepared) []byte {
	b = binary.AppendUvarint(b, uint64(p.Stamp))
	b = appendText(b, p.Actor)
	b = appendText(b, p.Verb)
	b = binary.AppendUvarint(b, uint64(len(p.Bodies)))
	b = binary.AppendUvarint(b, uint64(len(p.Keys)-len(p.Bodies)))
	for i, key := range p.Keys {
		b = appendText(b, key)
		if i < len(p.Bodies) {
			b = appendText(b, p.Bodies[i])
		}
	}
	b = binary.AppendUvarint(b, uint64(len(p.Events)))
	for _, e := range p.Events {
		b = binary.AppendUvarint(b, uint64(e.Stamp))
		b = appendText(b, e.Data)
	}
	return b
}

func (r *reader) batch(dec *state.Decoder) *state.Prepared {
	p := new(state.Prepared)
	p.Stamp = r.stamp()
	p.Actor, p.Verb = string(r.text()), string(r.text())
	puts, deletes := r.count(), r.count()
	for i := 0; i < puts+deletes && r.err == nil; i++ {
		key := state.Key(r.text())
		p.Keys = append(p.Keys, key)
		if i >= puts {
			if r.err == nil {
				r.err = state.CheckKey(key)
			}
			continue
		}
		body := append([]byte(nil), r.text()...)
		if r.err != nil {
			break
		}
		rec, err := dec.Decode(key, body)
		if err != nil {
			r.err = err
			break
		}
		p.Puts, p.Bodies = append(p.Puts, rec), append(p.Bodies, body)
	}
	if r.err == nil && deletes > 0 {
		p.Deletes = p.Keys[puts:]
	}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		e := state.Event{Stamp: r.stamp()}
		if data := r.text(); len(data) > 0 {
			e.Data = append([]byte(nil), data...)
		}
		p.Events = append(p.Events, e)
	}
	return p
}

// header is an entry before its batches are read.
type header struct {
	entry
	body []byte
	st   stage
}

func decodeHeader(name string, value []byte) (h header, err error) {
	b, err := unseal(name, value)
	if err != nil {
		return h, err
	}
	r := reader{b: b}
	h.id = r.array()
	h.before, h.after = r.point(), r.point()
	h.size = len(value)
	kind := r.take(1)
	switch {
	case r.err != nil:
	case kind[0] == inline:
		h.body, r.b = r.b, nil
	case kind[0] == staged:
		h.st = stage{id: r.array(), size: int(r.uint()), sum: uint32(r.uint())}
		h.entry.staged = h.st.id
	default:
		r.err = fmt.Errorf("its batches are kept in way %d, which this program does not know", kind[0])
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = errors.New("it is too long")
	}
	if r.err == nil && (h.name() != name || h.after.txn != h.before.txn+1) {
		r.err = errors.New("it is the entry of another place")
	}
	if r.err != nil {
		return h, fmt.Errorf("%q: %w", name, r.err)
	}
	return h, nil
}

// finish reads the batches and checks that they lead to where the writer of the entry got to.
func (h *header) finish(body []byte) (*entry, error) {
	var dec state.Decoder
	r := reader{b: body}
	var batches []*state.Prepared
	for len(r.b) > 0 && r.err == nil {
		batches = append(batches, r.batch(&dec))
	}
	if r.err != nil {
		return nil, fmt.Errorf("%q: %w", h.name(), r.err)
	}
	e, want := h.entry, h.after
	e.size = max(e.size, len(body))
	e.replay(batches)
	if e.after != want {
		return nil, fmt.Errorf("%q leads to %v and not to %v, as it says", h.name(), e.after.mark, want.mark)
	}
	return &e, nil
}

// gives reports what is known of a revision: the chain there, when the entry has it.
func (e *entry) chainAt(rev authz.Revision) (chain [16]byte, ok bool) {
	if rev == e.before.mark.Revision {
		return e.before.mark.Chain, true
	}
	for i := range e.changes {
		if e.changes[i].Revision == rev {
			return e.changes[i].Chain, true
		}
	}
	return chain, false
}
