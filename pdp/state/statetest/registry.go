package statetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Opener opens one more store on one history, with nothing attached, for the test that it was
// made for, which closes what it opens.
type Opener func() state.Shared

// Registry runs the suite that every [state.Registry] passes (PROTOCOL R8). open is called for
// each test and begins a new history.
func Registry(t *testing.T, open func(t *testing.T) Opener) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, desk)
	}{
		{"JoinNeverOverwrites", testJoin},
		{"RenewNeverCreates", testRenew},
		{"FenceOnlyWhatWasRead", testFence},
		{"Leave", testLeave},
		{"DepartAndForget", testDepart},
		{"Lists", testLists},
		{"BesideTheHistory", testBeside},
		{"HeadIsRead", testHeads},
		{"Newcomers", testNewcomers},
		{"RenewRacesFence", testRenewRacesFence},
		{"OneJoinWins", testOneJoinWins},
		{"ManyAtOnce", testManyAtOnce},
		{"RegistryEnds", testRegistryEnds},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, second := two(t, open(t))
			c.run(t, desk{[2]state.Shared{first, second}})
		})
	}
}

func two(t testing.TB, open Opener) (first, second state.Shared) {
	first, second = open(), open()
	t.Cleanup(func() { first.Close(); second.Close() })
	return first, second
}

// desk is a registry as two stores on one history reach it.
type desk struct{ stores [2]state.Shared }

func (d desk) at(i int) state.Registry { return d.stores[i%2].Registry() }

func (d desk) join(t testing.TB, i int, r state.Registration) authz.Revision {
	t.Helper()
	head, err := d.at(i).Join(context.Background(), r)
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	return head
}

func (d desk) renew(t testing.TB, i int, r state.Registration) authz.Revision {
	t.Helper()
	head, err := d.at(i).Renew(context.Background(), r)
	if err != nil {
		t.Fatalf("renew: %v", err)
	}
	return head
}

// want compares what both stores list, in any order.
func (d desk) want(t testing.TB, live []state.Registration, departed []state.Departed) {
	t.Helper()
	for i := range d.stores {
		l := list(t, d.at(i))
		if !sameSet(l.Live, live) || !sameSet(l.Departed, departed) {
			t.Errorf("store %d lists %+v, want %+v and %+v", i, l, live, departed)
		}
	}
}

func sameSet[T comparable](a, b []T) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(v T) bool { return !slices.Contains(b, v) })
}

func list(t testing.TB, r state.Registry) state.Registrations {
	t.Helper()
	l, err := r.List(context.Background())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	return l
}

// registration makes one with a new incarnation, and something in every field.
func registration(name string) state.Registration {
	r := state.Registration{
		Name: name, Address: name + ".example:7443", Applied: 7, Settled: 5, Term: 30 * time.Second, Fence: 5 * time.Second, Version: 1,
	}
	for i := range r.Incarnation {
		r.Incarnation[i] = byte(rand.Uint32())
	}
	return r
}

// later is r as it is after n renewals.
func later(r state.Registration, n uint64) state.Registration {
	r.Version += n
	r.Applied += authz.Revision(n)
	r.Settled += authz.Revision(n)
	return r
}

func departedOf(r state.Registration) state.Departed {
	return state.Departed{Incarnation: r.Incarnation, Name: r.Name, Term: r.Term, Fence: r.Fence}
}

func testJoin(t *testing.T, d desk) {
	ctx := context.Background()
	r := registration("a")
	if head := d.join(t, 0, r); head != 0 {
		t.Errorf("the head of a new history is %d", head)
	}
	attach(t, d.stores[0])
	commit(t, d.stores[0], state.Batch{Puts: []state.Record{group(1)}})
	other := registration("b")
	d.join(t, 1, other)
	again := later(r, 3)
	again.Name = "impostor"
	for i := range d.stores {
		for _, r := range []state.Registration{again, r} {
			head, err := d.at(i).Join(ctx, r)
			wantCode(t, err, authz.KindConflict, state.CodeRegistered)
			if head != 0 {
				t.Errorf("a refused join gave head %d", head)
			}
		}
	}
	d.want(t, []state.Registration{r, other}, nil)
	if err := d.at(1).Fence(ctx, r); err != nil {
		t.Fatal(err)
	}
	_, err := d.at(0).Join(ctx, again)
	wantCode(t, err, authz.KindConflict, state.CodeRegistered)
	d.want(t, []state.Registration{other}, []state.Departed{departedOf(r)})
}

func testRenew(t *testing.T, d desk) {
	ctx := context.Background()
	r := registration("a")
	renew := func(i int, r state.Registration) error { _, err := d.at(i).Renew(ctx, r); return err }
	wantCode(t, renew(0, r), authz.KindPrecondition, state.CodeFenced)
	d.want(t, nil, nil)
	d.join(t, 0, r)
	next := later(r, 1)
	next.Address, next.Term = "elsewhere.example:1", time.Minute
	d.renew(t, 0, next)
	d.want(t, []state.Registration{next}, nil)
	// The answer was lost: the same again.
	d.renew(t, 0, next)
	d.renew(t, 1, next)
	d.want(t, []state.Registration{next}, nil)
	if err := d.at(1).Fence(ctx, next); err != nil {
		t.Fatal(err)
	}
	for i := range d.stores {
		wantCode(t, renew(i, later(next, 1)), authz.KindPrecondition, state.CodeFenced)
	}
	d.want(t, nil, []state.Departed{departedOf(next)})
	if err := d.at(0).Forget(ctx, r.Incarnation); err != nil {
		t.Fatal(err)
	}
	wantCode(t, renew(0, later(next, 1)), authz.KindPrecondition, state.CodeFenced)
	d.want(t, nil, nil)
}

func testFence(t *testing.T, d desk) {
	ctx := context.Background()
	r, other := registration("a"), registration("b")
	wantCode(t, d.at(0).Fence(ctx, r), authz.KindConflict, state.CodeNotTheSame)
	d.join(t, 0, r)
	d.join(t, 0, other)
	now := later(r, 1)
	d.renew(t, 0, now)
	onlyVersion := now
	onlyVersion.Version++
	for name, not := range map[string]state.Registration{"older": r, "newer": later(now, 1), "another version": onlyVersion} {
		if err := d.at(1).Fence(ctx, not); err == nil {
			t.Errorf("%s: it was fenced", name)
		} else {
			wantCode(t, err, authz.KindConflict, state.CodeNotTheSame)
		}
		d.want(t, []state.Registration{now, other}, nil)
	}
	for i := range 2 { // The answer was lost, or another was faster.
		if err := d.at(1+i).Fence(ctx, now); err != nil {
			t.Errorf("fencing %d times: %v", i+1, err)
		}
		d.want(t, []state.Registration{other}, []state.Departed{departedOf(now)})
	}
	if err := d.at(0).Forget(ctx, r.Incarnation); err != nil {
		t.Fatal(err)
	}
	wantCode(t, d.at(1).Fence(ctx, now), authz.KindConflict, state.CodeNotTheSame)
	d.want(t, []state.Registration{other}, nil)
}

func testLeave(t *testing.T, d desk) {
	ctx := context.Background()
	r, other := registration("a"), registration("b")
	d.join(t, 0, r)
	d.join(t, 0, other)
	for range 2 {
		if err := d.at(0).Leave(ctx, r.Incarnation); err != nil {
			t.Error(err)
		}
		d.want(t, []state.Registration{other}, nil)
	}
	wantCode(t, d.at(1).Fence(ctx, r), authz.KindConflict, state.CodeNotTheSame)
	// Who was fenced leaves nothing behind by leaving, and takes nothing away.
	if err := d.at(1).Fence(ctx, other); err != nil {
		t.Fatal(err)
	}
	if err := d.at(0).Leave(ctx, other.Incarnation); err != nil {
		t.Error(err)
	}
	d.want(t, nil, []state.Departed{departedOf(other)})
}

func testDepart(t *testing.T, d desk) {
	ctx := context.Background()
	r := registration("a")
	d.join(t, 0, r)
	gone := departedOf(registration("the history before"))
	for range 2 {
		if err := d.at(0).Depart(ctx, gone); err != nil {
			t.Error(err)
		}
		d.want(t, []state.Registration{r}, []state.Departed{gone})
	}
	gone.Term = 2 * time.Minute
	if err := d.at(1).Depart(ctx, gone); err != nil {
		t.Error(err)
	}
	d.want(t, []state.Registration{r}, []state.Departed{gone})
	_, err := d.at(0).Join(ctx, state.Registration{Incarnation: gone.Incarnation, Version: 1})
	wantCode(t, err, authz.KindConflict, state.CodeRegistered)
	for range 2 {
		for _, id := range []state.Incarnation{gone.Incarnation, r.Incarnation} { // r has not departed.
			if err := d.at(1).Forget(ctx, id); err != nil {
				t.Error(err)
			}
		}
		d.want(t, []state.Registration{r}, nil)
	}
}

// testLists: whoever joined before List was called is in it, and who left is not.
func testLists(t *testing.T, d desk) {
	for i := range 50 {
		r := registration(fmt.Sprint(i))
		d.join(t, i, r)
		if l := list(t, d.at(i+1)); !slices.Contains(l.Live, r) {
			t.Fatalf("%d registrations, and not the one that had joined before", len(l.Live))
		}
		d.renew(t, i, later(r, 1))
		if l := list(t, d.at(i+1)); !slices.Contains(l.Live, later(r, 1)) {
			t.Fatal("the renewal before is not in the list")
		}
		if i%2 == 0 {
			if err := d.at(i).Leave(context.Background(), r.Incarnation); err != nil {
				t.Fatal(err)
			}
			if l := list(t, d.at(i+1)); slices.Contains(l.Live, later(r, 1)) {
				t.Fatal("one that had left before is in the list")
			}
		}
	}
}

// testBeside: a replica registers before it loads, and what the registry does is no part of the
// history.
func testBeside(t *testing.T, d desk) {
	r := registration("a")
	d.join(t, 0, r)
	sink := attach(t, d.stores[0])
	rev := commit(t, d.stores[0], state.Batch{Puts: []state.Record{group(1)}, Stamp: 3})
	mark, stamp := d.stores[0].Head()
	d.renew(t, 0, later(r, 1))
	if err := errors.Join(d.at(0).Fence(context.Background(), later(r, 1)), d.at(0).Depart(context.Background(), departedOf(registration("b")))); err != nil {
		t.Error(err)
	}
	commit(t, d.stores[0], state.Batch{})
	if m, s := d.stores[0].Head(); m != mark || s != stamp {
		t.Errorf("the registry moved the head from %v to %v", mark, m)
	}
	if next := commit(t, d.stores[0], state.Batch{Puts: []state.Record{group(1)}}); next != rev+1 {
		t.Errorf("revision %d follows %d", next, rev)
	}
	if n := len(sink.Changes()); n != 2 {
		t.Errorf("the sink has %d changes of 2", n)
	}
	sound(t, sink)
}

func testRegistryEnds(t *testing.T, d desk) {
	ctx, cancel := context.WithCancel(context.Background())
	r := registration("a")
	d.join(t, 0, r)
	calls := func(ctx context.Context, reg state.Registry) []error {
		_, join := reg.Join(ctx, registration("b"))
		_, renew := reg.Renew(ctx, r)
		_, list := reg.List(ctx)
		return []error{join, renew, list, reg.Fence(ctx, r), reg.Leave(ctx, r.Incarnation),
			reg.Depart(ctx, departedOf(registration("c"))), reg.Forget(ctx, r.Incarnation)}
	}
	cancel()
	for _, err := range calls(ctx, d.at(0)) {
		wantCode(t, err, authz.KindCanceled, "CANCELED")
	}
	reg := d.at(0)
	if err := d.stores[0].Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range calls(context.Background(), reg) {
		wantCode(t, err, authz.KindUnavailable, "CLOSED")
	}
	// Nobody but itself or a peer takes a registration away.
	if l := list(t, d.at(1)); !slices.Equal(l.Live, []state.Registration{r}) || len(l.Departed) != 0 {
		t.Errorf("after its store was closed: %+v", l)
	}
}

func each(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}
