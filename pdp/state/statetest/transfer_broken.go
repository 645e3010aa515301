package statetest

import (
	"context"
	"errors"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// testBrokenImport breaks every step of an import, before and after. Whatever is left is a
// whole copy, or refused as unfinished; and then the next import begins over it.
func testBrokenImport(t *testing.T, h ImportHarness) {
	if h.Break == nil {
		t.Skip("the harness cannot break steps")
	}
	from := source(t, NewRand(t))
	steps := 0
	for n := 0; ; n++ {
		for _, done := range []bool{false, true} {
			h.Break(n, done)
			_, b, err := transfer(h, from.Reopen(), nil)
			if !h.Broken() {
				if err != nil {
					t.Fatalf("no step failed, and the import did: %v", err)
				}
				t.Logf("%d steps broken before and after; this one was whole", steps)
				for _, line := range complaints(t, h, from, b) {
					t.Error(line)
				}
				return
			}
			if steps++; h.Empty() {
				continue // it had not begun
			}
			whole := false
			if s, openErr := h.Open(); openErr == nil {
				s.Close()
				whole = true
			} else if codeOf(openErr) != state.CodeImportUnfinished {
				t.Fatalf("step %d broken (done %v): the place is refused with %v", n, done, openErr)
			}
			if !whole {
				continue
			}
			// Only the last step can be done and fail, and then nothing is missing.
			lines := complaints(t, h, from, b)
			if b.Mark.Revision == 0 || !done || len(lines) > 0 {
				t.Fatalf("step %d broken (done %v, error %v): it is taken for a store at %v: %v", n, done, err, b.Mark, lines)
			}
			if _, _, err := transfer(h, from.Reopen(), nil); codeOf(err) != "TARGET_NOT_EMPTY" {
				t.Errorf("a whole copy is overwritten: %v", err)
			}
			t.Logf("%d steps broken before and after; the last one left a whole copy", steps)
			return
		}
	}
}

// wrong is an import with a fault planted in it.
type wrong struct {
	state.Import
	record func(to state.Import, key state.Key, mod authz.Revision, body []byte) error
	event  func(to state.Import, id state.EventID, e state.Event) error
	finish func(b *state.Beginning)
}

// Record implements [state.Import].
func (w wrong) Record(ctx context.Context, key state.Key, mod authz.Revision, body []byte) error {
	if w.record != nil {
		return w.record(w.Import, key, mod, body)
	}
	return w.Import.Record(ctx, key, mod, body)
}

// Event implements [state.Import].
func (w wrong) Event(ctx context.Context, id state.EventID, e state.Event) error {
	if w.event != nil {
		return w.event(w.Import, id, e)
	}
	return w.Import.Event(ctx, id, e)
}

// Finish implements [state.Import].
func (w wrong) Finish(ctx context.Context, b state.Beginning) error {
	if w.finish != nil {
		w.finish(&b)
	}
	return w.Import.Finish(ctx, b)
}

// testWrongCopies plants faults: each must be found by comparing the copy, or by its store.
func testWrongCopies(t *testing.T, h ImportHarness) {
	ctx := context.Background()
	from := source(t, NewRand(t))
	dropped := false
	for _, c := range []struct {
		name  string
		fault wrong
	}{
		{"the head begins at 1", wrong{finish: func(b *state.Beginning) { b.Mark.Revision = 1 }}},
		{"the epoch is not raised", wrong{finish: func(b *state.Beginning) { b.Mark.Epoch.Counter-- }}},
		{"mods are lost", wrong{record: func(to state.Import, key state.Key, mod authz.Revision, body []byte) error {
			return to.Record(ctx, key, 1, body)
		}}},
		{"a record is lost", wrong{record: func(to state.Import, key state.Key, mod authz.Revision, body []byte) error {
			if !dropped {
				dropped = true
				return nil
			}
			return to.Record(ctx, key, mod, body)
		}}},
		{"events lose their revision", wrong{event: func(to state.Import, id state.EventID, e state.Event) error {
			e.Revision = 0
			return to.Event(ctx, id, e)
		}}},
		{"the stamp is lost", wrong{finish: func(b *state.Beginning) { b.Stamp = 0 }}},
		{"events are counted anew", wrong{finish: func(b *state.Beginning) { b.Seq = 0 }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.Clear()
			_, b, err := transfer(h, from.Reopen(), func(im state.Import) state.Import { c.fault.Import = im; return c.fault })
			if err != nil {
				t.Fatal(err)
			}
			list := complaints(t, h, from, b)
			if h.Check != nil {
				if err := h.Check(); err != nil {
					list = append(list, err.Error())
				}
			}
			if len(list) == 0 {
				t.Error("nobody noticed")
			}
			t.Log(len(list), "complaints, the first: ", append(list, "")[0])
		})
	}
	t.Run("it is finished before the records are there", func(t *testing.T) {
		h.Clear()
		boom := errors.New("killed")
		_, _, err := transfer(h, from.Reopen(), func(im state.Import) state.Import {
			return wrong{Import: im, record: func(to state.Import, key state.Key, mod authz.Revision, body []byte) error {
				return errors.Join(to.Finish(ctx, state.Beginning{Mark: state.Mark{Epoch: state.Epoch{Counter: 2}, Revision: 300}, Seq: 1e6}), boom)
			}}
		})
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
		// What testBrokenImport asks is what notices: it is no unfinished import, and not whole.
		if s, err := h.Open(); err != nil {
			t.Errorf("the planted fault did not work: %v", err)
		} else {
			s.Close()
		}
		if len(complaints(t, h, from, state.Beginning{})) == 0 {
			t.Error("nobody noticed")
		}
	})
}
