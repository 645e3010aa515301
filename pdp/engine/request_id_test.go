package engine

import (
	"strings"
	"sync"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// TestRequestIDs: a repeated call answers as the first did and does nothing; the same
// id for another call is refused.
func TestRequestIDs(t *testing.T) {
	l := newListTest(t)
	ctx, e := t.Context(), l.e
	remove := EntryRemoval{AllowlistEdit: AllowlistEdit{Project: app, RequestID: "r"}, Other: authz.InProject(open)}
	add := onApp(Inbound, authz.InProject(open))
	add.RequestID = "a"
	settings := AllowlistSettings{AllowlistEdit: AllowlistEdit{Project: app, RequestID: "s"}, PushSelf: new(true)}
	apply := ApplyRequest{Changes: []Change{user(50)}, RequestID: "b"}
	limit := InstanceEdit{MaxGroupEntries: new(7), RequestID: "i"}
	calls := []struct {
		name  string
		call  func() (Done, error)
		reuse func() (Done, error)
	}{
		{"add",
			func() (Done, error) { _, d, err := e.AddEntry(ctx, as(max_), add); return d, err },
			func() (Done, error) {
				r := add
				r.Other = authz.InGroup(team)
				_, d, err := e.AddEntry(ctx, as(max_), r)
				return d, err
			}},
		{"remove",
			func() (Done, error) { return e.RemoveEntry(ctx, as(max_), remove) },
			func() (Done, error) { return e.RemoveEntry(ctx, as(ext), remove) }}, // for another user
		{"settings",
			func() (Done, error) { _, d, err := e.UpdateAllowlist(ctx, as(max_), settings); return d, err },
			func() (Done, error) {
				r := settings
				r.PushSelf = new(false)
				_, d, err := e.UpdateAllowlist(ctx, as(max_), r)
				return d, err
			}},
		{"apply",
			func() (Done, error) { a, err := e.Apply(ctx, forge(), apply); return a.Done, err },
			func() (Done, error) {
				a, err := e.Apply(ctx, forge(), ApplyRequest{Changes: []Change{user(51)}, RequestID: "b"})
				return a.Done, err
			}},
		{"block",
			func() (Done, error) {
				return e.BlockUser(ctx, forge(), UserStateRequest{User: out, State: authz.UserStateBanned, RequestID: "u"})
			},
			func() (Done, error) { return e.UnblockUser(ctx, forge(), UserStateRequest{User: out, RequestID: "u"}) }}, // another verb
		{"instance",
			func() (Done, error) { _, d, err := e.UpdateInstance(ctx, admin(), limit); return d, err },
			func() (Done, error) {
				r := limit
				r.MaxGroupEntries = new(8)
				_, d, err := e.UpdateInstance(ctx, admin(), r)
				return d, err
			}},
	}
	for _, c := range calls {
		first, err := c.call()
		if err != nil || first.Repeated {
			t.Fatalf("%s: %+v, %v", c.name, first, err)
		}
		mustApply(t, e, Change{User: &state.User{ID: 60, Name: c.name}}) // time goes on
		head := e.view.Mark().Revision
		again, err := c.call()
		if err != nil || !again.Repeated || again.Revision != first.Revision {
			t.Errorf("%s again: %+v, %v; the first was %+v", c.name, again, err, first)
		}
		_, err = c.reuse()
		wantError(t, err, authz.KindInvalid, CodeRequestIDReused)
		wantField(t, err, "request_id")
		if got := e.view.Mark().Revision; got != head {
			t.Errorf("%s: a repetition or a reuse committed revision %d", c.name, got)
		}
	}
}

// TestRequestIDsOfTwoCallers are two, and bad ones are refused.
func TestRequestIDsOfTwoCallers(t *testing.T) {
	l := newListTest(t)
	ctx, e := t.Context(), l.e
	add := onApp(Inbound, authz.InProject(open))
	add.RequestID = "a"
	if _, _, err := e.AddEntry(ctx, as(max_), add); err != nil {
		t.Fatal(err)
	}
	if err := l.remove(as(max_), Inbound, authz.InProject(open)); err != nil {
		t.Fatal(err)
	}
	other := as(max_)
	other.Name = "another-forge"
	if _, done, err := e.AddEntry(ctx, other, add); err != nil || done.Repeated {
		t.Errorf("another caller's id: %+v, %v", done, err)
	}
	for _, bad := range []string{"with space", "ü", strings.Repeat("x", MaxRequestID+1)} {
		r := add
		r.RequestID = bad
		_, _, err := e.AddEntry(ctx, as(max_), r)
		wantField(t, err, "request_id")
	}
	long := as(max_)
	long.Name = strings.Repeat("n", state.MaxNameBytes)
	_, _, err := e.AddEntry(ctx, long, add)
	wantField(t, err, "request_id")
}

// TestRequestIDAfterRefusal: a refused call leaves no trace and can be tried again.
func TestRequestIDAfterRefusal(t *testing.T) {
	l := newListTest(t)
	add := onApp(Inbound, authz.InProject(inside))
	add.RequestID = "again"
	_, _, err := l.add(as(max_), add)
	wantError(t, err, authz.KindNotFound, CodeProjectNotFound)
	mustApply(t, l.e, role(max_, authz.InProject(inside), authz.RoleGuest))
	if _, done, err := l.add(as(max_), add); err != nil || done.Repeated {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestRequestIDAtOnce: of many equal calls at the same time one is carried out.
func TestRequestIDAtOnce(t *testing.T) {
	l := newListTest(t)
	add := onApp(Inbound, authz.InProject(open))
	add.RequestID = "one"
	var mu sync.Mutex
	var wg sync.WaitGroup
	revisions, repeated := map[authz.Revision]bool{}, 0
	for range 12 {
		wg.Go(func() {
			_, done, err := l.e.AddEntry(t.Context(), as(max_), add)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			revisions[done.Revision] = true
			if done.Repeated {
				repeated++
			}
		})
	}
	wg.Wait()
	if len(revisions) != 1 || repeated != 11 {
		t.Errorf("revisions %v, %d repeated", revisions, repeated)
	}
}

// TestRequestIDBetween: the same call carried out between the look and the commit, by
// somebody who touches no other record, is found.
func TestRequestIDBetween(t *testing.T) {
	st := &watched{Store: storeOf(t, listWorld()...)}
	e := startEngine(t, st, newHandClock(noon()))
	add := onApp(Inbound, authz.InProject(open))
	add.RequestID = "one"
	st.fail = func() error {
		st.fail = nil
		op, err := newOnce(as(max_), "add_entry", add.RequestID, add)
		if err != nil {
			t.Fatal(err)
		}
		var b state.Batch
		op.keep(&b, e.Now(), state.ThisRevision)
		_, err = st.Store.Commit(t.Context(), b)
		return err
	}
	_, done, err := e.AddEntry(t.Context(), as(max_), add)
	if err != nil || !done.Repeated {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestRequestIDDuringTheRead: the same call carried out after the look for its record,
// so that the reading finds what it did, is a repetition and no failure.
func TestRequestIDDuringTheRead(t *testing.T) {
	l := newListTest(t)
	add := onApp(Inbound, authz.InProject(open))
	add.RequestID = "one"
	op, err := newOnce(as(max_), "add_entry", add.RequestID, add)
	if err != nil {
		t.Fatal(err)
	}
	var first Done
	done, err := l.e.commitOnce(t.Context(), "add_entry", as(max_), op, func(repeated bool) (b state.Batch, err error) {
		if repeated {
			return b, nil
		}
		if _, first, err = l.add(as(max_), add); err != nil {
			t.Fatal(err)
		}
		return b, errEntryExists(app, Inbound, add.Other)
	})
	if err != nil || !done.Repeated || done.Revision != first.Revision {
		t.Errorf("%+v, %v; the first was %+v", done, err, first)
	}
}
