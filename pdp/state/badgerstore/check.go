package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// maxProblems bounds how many problems a report lists.
const maxProblems = 100

// Report is what [Check] found.
type Report struct {
	// Mark and Stamp are where the store is; zero when that could not be read.
	Mark  state.Mark
	Stamp authz.Stamp
	// Records are how many there are of each kind, Events how many events.
	Records [state.NumKinds]uint64
	Events  uint64
	// First is the oldest change that history holds.
	First authz.Revision
	// Problems say what is wrong, the first hundred of it; More counts the rest. A store
	// without any is whole.
	Problems []string
	More     int
}

// String gives the report in lines for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "at %v, %s\n", r.Mark, r.Stamp.Time().Format("2006-01-02 15:04:05 MST"))
	for kind := state.Kind(1); int(kind) < state.NumKinds; kind++ {
		if n := r.Records[kind]; n > 0 {
			fmt.Fprintf(&b, "%10d %v\n", n, kind)
		}
	}
	fmt.Fprintf(&b, "%10d events\nhistory from revision %d\n", r.Events, r.First)
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "PROBLEM: %s\n", p)
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "and %d more problems\n", r.More)
	}
	if len(r.Problems) == 0 {
		b.WriteString("no problems\n")
	}
	return b.String()
}

func (r *Report) problem(format string, args ...any) {
	p := fmt.Sprintf(format, args...)
	switch {
	case slices.Contains(r.Problems, p): // Two of the checks found it.
	case len(r.Problems) == maxProblems:
		r.More++
	default:
		r.Problems = append(r.Problems, p)
	}
}

// Check looks at the whole store in dir and changes nothing in it. It reads Badger's files
// by itself, without opening them with Badger. What is wrong with the store stands in the
// report; an error says that the store could not be looked at at all, since there is none or
// a PDP has it open.
func Check(ctx context.Context, dir string) (*Report, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := unfinished(dir); err != nil {
		return nil, err
	}
	r := new(Report)
	m, markErr := readMark(dir)
	im, err := openImage(filepath.Join(dir, badgerName))
	defer im.close()
	switch {
	case errors.Is(markErr, errNoMark) && im == nil && err == nil:
		return nil, authz.Errorf(authz.KindNotFound, "NO_STORE", "there is no store in %s", dir)
	case err != nil:
		r.problem("%v", err)
		return r, nil
	}
	if markErr != nil {
		r.problem("%v", markErr)
	} else if err := (&found{mark: &m}).read(im); err != nil {
		r.problem("%v", err)
	}
	if im == nil {
		return r, nil
	}
	return r, r.all(ctx, im)
}

// all checks every entry.
func (r *Report) all(ctx context.Context, im *image) error {
	h, ok, err := im.head()
	if err != nil || !ok {
		if im.last > 0 {
			r.problem("the head record cannot be read: %v", err)
		}
		return nil
	}
	r.Mark, r.Stamp, r.First = h.mark, h.stamp, h.first
	touched, err := r.history(im, h)
	if err != nil {
		r.problem("%v", err)
	}
	err = im.scan(nil, func(key, value []byte, _ uint64) error {
		if ctx.Err() != nil {
			return state.ErrCanceled(ctx)
		}
		switch key[0] {
		case prefixRecord:
			r.record(h, touched, state.Key(key[1:]), value)
		case prefixEvent:
			r.events(h, key, value)
		case prefixHead, prefixHistory:
			// Checked above.
		default:
			r.problem("key %x is none of ours", key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key, t := range touched {
		if t.there {
			r.problem("%v was stored at revision %d and is missing", key, t.rev)
		}
	}
	for kind, n := range r.Records {
		if n != h.counts[kind] {
			r.problem("there are %d records of kind %v, and the head counts %d", n, state.Kind(kind), h.counts[kind])
		}
	}
	return nil
}

// touch is what history says of a record last.
type touch struct {
	rev   authz.Revision
	sum   uint32
	there bool
}

// history follows the chain and gives what it says of each record that it mentions.
func (r *Report) history(im *image, h head) (map[state.Key]touch, error) {
	touched := make(map[state.Key]touch)
	cc := &chainChecker{head: h, each: func(c state.Change, sums []uint32) {
		for i, key := range c.Keys {
			t := touch{rev: c.Revision}
			if i < len(sums) {
				t.sum, t.there = sums[i], true
			}
			touched[key] = t
		}
	}}
	return touched, im.checkHistory(cc)
}

func (r *Report) record(h head, touched map[state.Key]touch, key state.Key, value []byte) {
	if err := state.CheckKey(key); err != nil {
		r.problem("key %x is none of ours: %v", string(key), err)
		return
	}
	r.Records[key.Kind()]++
	t, ok := touched[key]
	delete(touched, key)
	mod, body, err := openRecord(key, value)
	if err != nil {
		r.problem("%v: %v", key, err)
		return
	}
	if _, err := state.DecodeRecord(key, body); err != nil {
		r.problem("%v", err)
		return
	}
	switch {
	case mod > h.mark.Revision:
		r.problem("%v was changed at revision %d, and the head is at %d", key, mod, h.mark.Revision)
	case !ok && mod >= h.first:
		r.problem("%v was changed at revision %d, and history does not say so", key, mod)
	case ok && !t.there:
		r.problem("%v was deleted at revision %d and is there, as of revision %d", key, t.rev, mod)
	case ok && (t.rev != mod || t.sum != state.Sum(key, mod, body)):
		r.problem("%v is as of revision %d, and history says that revision %d stored another", key, mod, t.rev)
	}
}

func (r *Report) events(h head, key, value []byte) {
	pack, err := readPack(nil, key, value)
	if err != nil {
		r.problem("events at key %x: %v", key, err)
		return
	}
	r.Events += uint64(len(pack))
	newest := pack[len(pack)-1].id
	for i, e := range pack {
		if e.id.Seq == 0 || e.id.Seq > h.seq || newest.Stamp-e.id.Stamp > packSpan || i > 0 && !pack[i-1].id.Before(e.id) {
			r.problem("event %s is not where it belongs", e.id.Cursor())
		}
	}
}
