package memstore

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// data is what a restart would find.
type data struct {
	records map[state.Key]held
	mark    state.Mark
	stamp   authz.Stamp
	history []state.Change // the newest, without contents; the last is that of mark
	events  []event        // sorted by id
	seq     uint64
}

type held struct {
	rec state.Record
	mod authz.Revision
}

type event struct {
	id state.EventID
	state.Event
}

func newData() *data {
	d := &data{records: make(map[state.Key]held)}
	d.mark.Epoch.Counter = 1
	rand.Read(d.mark.Epoch.ID[:])
	return d
}

// judge evaluates guards at the newest head.
func (d *data) judge(guards []state.Guard) error {
	for _, g := range guards {
		if found := d.records[g.Key].mod; found != g.Revision {
			return state.ErrGuardFailed(g, found)
		}
	}
	return nil
}

// commit gives nil for a batch that changes no record.
func (d *data) commit(p *state.Prepared, keep int) *state.Change {
	rev := d.mark.Revision
	if len(p.Keys) > 0 {
		rev++
	}
	for _, e := range p.Events {
		d.seq++
		e.Revision = rev
		id := state.EventID{Stamp: e.Stamp, Seq: d.seq}
		i, _ := slices.BinarySearchFunc(d.events, id, compare)
		d.events = slices.Insert(d.events, i, event{id, e})
	}
	if len(p.Keys) == 0 {
		d.stamp = max(d.stamp, p.Stamp)
		return nil
	}
	c, sums := p.Change(d.mark.Revision+1, d.stamp)
	d.mark.Revision, d.stamp = c.Revision, c.Stamp
	d.mark.Chain = state.ChainNext(d.mark.Chain, state.AppendChange(nil, &c, sums))
	c.Chain = d.mark.Chain
	for _, rec := range c.Puts {
		d.records[rec.Key()] = held{rec, c.Revision}
	}
	for _, key := range c.Deletes {
		delete(d.records, key)
	}
	kept := c
	kept.Puts = nil
	d.history = append(d.history, kept)
	if n := len(d.history) - keep; n > 0 {
		d.history = d.history[n:]
	}
	return &c
}

// prune removes up to limit events older than before and gives how many.
func (d *data) prune(before authz.Stamp, limit int) int {
	n, _ := slices.BinarySearchFunc(d.events, state.EventID{Stamp: before}, compare)
	n = min(n, max(limit, 0))
	d.events = slices.Clone(d.events[n:])
	return n
}

// walkHistory calls fn for the changes after a revision. The last of history is that of head.
func walkHistory(ctx context.Context, history []state.Change, after, head authz.Revision, fn func(state.Change) error) error {
	first := head - authz.Revision(len(history)) + 1
	switch {
	case after > head:
		return state.ErrHistoryAhead(after, head)
	case after+1 < first:
		return state.ErrHistoryGone(after, first)
	}
	for _, c := range history[after+1-first:] {
		if ctx.Err() != nil {
			return state.ErrCanceled(ctx)
		}
		if err := fn(c); err != nil {
			return err
		}
	}
	return nil
}

// walkEvents calls fn for those events of a sorted list that a call of Events asks for.
func walkEvents(ctx context.Context, events []event, from, to authz.Stamp, cursor string, fn func(state.Event, string) error) error {
	end := state.EventID{Stamp: to}
	if cursor != "" {
		at, err := state.ParseCursor(cursor)
		if err != nil {
			return err
		}
		if to == 0 || at.Before(end) {
			end = at
		}
	}
	for _, e := range slices.Backward(events) {
		if ctx.Err() != nil {
			return state.ErrCanceled(ctx)
		}
		if (end != state.EventID{}) && !e.id.Before(end) {
			continue
		}
		if e.Stamp < from {
			return nil
		}
		if err := fn(e.Event, e.id.Cursor()); err != nil {
			return err
		}
	}
	return nil
}

func compare(e event, id state.EventID) int {
	switch {
	case e.id.Before(id):
		return -1
	case e.id == id:
		return 0
	}
	return 1
}
