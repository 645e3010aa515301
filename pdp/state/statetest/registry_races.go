package statetest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// rounds is how often a race is run.
const rounds = 150

func testHeads(t *testing.T, d desk) {
	attach(t, d.stores[0])
	r := registration("a")
	d.join(t, 1, r) // The second store has nothing attached: its own head stands still.
	var acked, tried atomic.Uint64
	put := func() {
		tried.Add(1)
		if _, err := d.stores[0].Commit(context.Background(), state.Batch{Puts: []state.Record{group(1)}}); err != nil {
			t.Error(err)
		}
		acked.Add(1)
	}
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				put()
			}
		}
	}()
	defer func() { close(stop); <-done }()
	var last authz.Revision
	for i := range uint64(rounds) {
		least := authz.Revision(acked.Load())
		head := d.renew(t, 1, later(r, i+1))
		if most := authz.Revision(tried.Load()); head < least || head > most || head < last {
			t.Fatalf("renewal %d gave head %d: %d were committed before, %d begun after, and the one before gave %d", i, head, least, most, last)
		}
		last = head
		if i%10 == 0 {
			put() // However fast this loop is.
			least = authz.Revision(acked.Load())
			if head := d.join(t, 1, registration(fmt.Sprint(i))); head < least {
				t.Fatalf("join gave head %d after %d were committed", head, least)
			}
		}
	}
}

// testNewcomers attacks the newcomer of R8: a replica that is not in the list which a revoker
// reads after its commit has been told a head with that commit.
func testNewcomers(t *testing.T, d desk) {
	attach(t, d.stores[0])
	missed := 0
	for i := range rounds {
		r := registration(fmt.Sprint(i))
		var rev, head authz.Revision
		var seen state.Registrations
		each(2, func(i int) {
			var err error
			if i == 1 {
				if head, err = d.at(1).Join(context.Background(), r); err != nil {
					t.Error(err)
				}
				return
			}
			if rev, err = d.stores[0].Commit(context.Background(), state.Batch{Puts: []state.Record{group(1)}}); err == nil {
				seen, err = d.at(0).List(context.Background())
			}
			if err != nil {
				t.Error(err)
			}
		})
		if !slices.Contains(seen.Live, r) {
			missed++
			if head < rev {
				t.Fatalf("revision %d was committed, then the list was read and did not have a replica that was told head %d", rev, head)
			}
		}
		if err := d.at(0).Leave(context.Background(), r.Incarnation); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d newcomers were not listed", missed, rounds)
}

// testRenewRacesFence: of a renewal and a fence of the registration before it, one happens.
func testRenewRacesFence(t *testing.T, d desk) {
	ctx := context.Background()
	fenced := 0
	for i := range rounds {
		r := registration(fmt.Sprint(i))
		d.join(t, i, r)
		var results [3]error
		each(3, func(j int) {
			switch {
			case j == i%3:
				_, results[0] = d.at(i).Renew(ctx, later(r, 1))
			case j == (i+1)%3:
				results[1] = d.at(i+1).Fence(ctx, r)
			default: // Another peer, with the same thought.
				results[2] = d.at(i).Fence(ctx, r)
			}
		})
		if results[0] == nil {
			wantCode(t, results[1], authz.KindConflict, state.CodeNotTheSame)
			wantCode(t, results[2], authz.KindConflict, state.CodeNotTheSame)
			d.want(t, []state.Registration{later(r, 1)}, nil)
		} else {
			fenced++
			wantCode(t, results[0], authz.KindPrecondition, state.CodeFenced)
			if results[1] != nil || results[2] != nil {
				t.Errorf("it was fenced, and they were told %v and %v", results[1], results[2])
			}
			d.want(t, nil, []state.Departed{departedOf(r)})
		}
		if t.Failed() {
			return
		}
		if err := d.at(0).Leave(ctx, r.Incarnation); err != nil {
			t.Fatal(err)
		}
		if err := d.at(0).Forget(ctx, r.Incarnation); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d were fenced", fenced, rounds)
}

func testOneJoinWins(t *testing.T, d desk) {
	for i := range 20 {
		r := registration(fmt.Sprint(i))
		var won atomic.Int32
		var winner atomic.Value
		each(8, func(j int) {
			mine := r
			mine.Name = fmt.Sprint(i, "-", j)
			_, err := d.at(j).Join(context.Background(), mine)
			if err == nil {
				won.Add(1)
				winner.Store(mine)
				return
			}
			wantCode(t, err, authz.KindConflict, state.CodeRegistered)
		})
		if won.Load() != 1 {
			t.Fatalf("%d of one incarnation have joined", won.Load())
		}
		if l := list(t, d.at(0)); !slices.Contains(l.Live, winner.Load().(state.Registration)) {
			t.Fatal("the one that was told that it had joined is not in the list")
		}
	}
}

// testManyAtOnce: everybody's calls do what they do alone.
func testManyAtOnce(t *testing.T, d desk) {
	const n, renewals = 24, 10
	ctx := context.Background()
	live := make([]state.Registration, n)
	departed := make([]state.Departed, n)
	each(n, func(i int) {
		r := registration(fmt.Sprint(i))
		fail := func(what string, err error) {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err := d.at(i).Join(ctx, r)
		fail("join", err)
		for v := range uint64(renewals) {
			_, err := d.at(i).Renew(ctx, later(r, v+1))
			fail("renew", err)
		}
		r = later(r, renewals)
		if l, err := d.at(i + 1).List(ctx); err != nil || !slices.Contains(l.Live, r) {
			t.Errorf("it is not in the list: %v", err)
		}
		switch i % 4 {
		case 0:
			live[i] = r
		case 1:
			fail("leave", d.at(i+1).Leave(ctx, r.Incarnation))
		case 2:
			fail("fence", d.at(i+1).Fence(ctx, r))
			departed[i] = departedOf(r)
		case 3:
			fail("fence", d.at(i).Fence(ctx, r))
			fail("forget", d.at(i+1).Forget(ctx, r.Incarnation))
		}
	})
	live = slices.DeleteFunc(live, func(r state.Registration) bool { return r == state.Registration{} })
	departed = slices.DeleteFunc(departed, func(g state.Departed) bool { return g == state.Departed{} })
	d.want(t, live, departed)
}
