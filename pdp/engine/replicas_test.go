package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/replica"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// The terms of the tests with real Members, and within what a receipt has to be effective
// whatever a peer does (M8): it is taken for silent, was silent before that, and its leases.
const (
	aTerm  = 2 * time.Second
	aFence = time.Second
	aBound = 2*aFence + aTerm + time.Second
)

// fleet are PDPs on one history that find each other by a registry, in virtual time.
type fleet struct {
	*testing.T
	cluster *memstore.Cluster
	start   time.Time
	fault   replica.Fault
	// wrap, where set, stands between a store and its engine.
	wrap func(*memstore.Handle) state.Store

	mu   sync.Mutex
	pdps []*pdp
}

// pdp is one of them.
type pdp struct {
	*Engine
	store *memstore.Handle
	m     *replica.Member
}

// inFleet runs a test with n PDPs and the world of the token tests.
func inFleet(t *testing.T, n int, fault replica.Fault, wrap func(*memstore.Handle) state.Store, run func(t *testing.T, f *fleet, ps []*pdp)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{T: t, cluster: memstore.NewCluster(memstore.Options{Timeout: 50 * time.Millisecond}), start: time.Now(), fault: fault, wrap: wrap}
		for range n {
			f.boot()
		}
		if _, err := f.pdps[0].store.Commit(t.Context(), state.Batch{Puts: tokenWorld(), Stamp: f.pdps[0].Now()}); err != nil {
			t.Fatal(err)
		}
		defer func() {
			for _, p := range f.pdps {
				p.store.Release()
				p.store.Mend()
			}
			for _, p := range f.pdps {
				p.Close()
				if err := p.m.Stop(t.Context(), false); err != nil {
					t.Error(err)
				}
				p.store.Close()
			}
		}()
		run(t, f, f.pdps)
	})
}

// boot starts one more PDP, as R8 says: registered, then loaded, then serving.
func (f *fleet) boot() *pdp {
	f.Helper()
	p := &pdp{store: f.cluster.Open()}
	tokens, err := token.NewFormat("jobt-")
	if err != nil {
		f.Fatal(err)
	}
	name := fmt.Sprint("p", len(f.pdps))
	p.m = replica.New(replica.Options{
		Registry: p.store.Registry(), Dialer: f, Name: name, Address: name, Term: aTerm, Fence: aFence, Fault: f.fault,
		Now: func() lease.Instant { return lease.Instant(time.Since(f.start) + time.Hour) },
	})
	if err := p.m.Join(f.Context()); err != nil {
		f.Fatal(err)
	}
	var store state.Store = p.store
	if f.wrap != nil {
		store = f.wrap(p.store)
	}
	p.Engine, err = New(f.Context(), Options{
		Store: store, Clock: bubbleClock{}, Tokens: tokens, Replica: p.m, Feed: feed.Options{Term: aTerm},
		Heard: func(context.Context) (bool, error) { return true, nil },
	})
	if err != nil {
		f.Fatal(err)
	}
	if err := p.m.Ready(f.Context()); err != nil {
		f.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pdps = append(f.pdps, p)
	return p
}

// Dial implements replica.Dialer: a call from one goroutine to another.
func (f *fleet) Dial(r state.Registration) (replica.Peer, error) { return call{f, r.Incarnation}, nil }

type call struct {
	f  *fleet
	to state.Incarnation
}

func (c call) Close() error { return nil }

// Settle implements replica.Peer as package server does.
func (c call) Settle(ctx context.Context, w replica.Want, each func(replica.Answer)) error {
	for {
		var to *pdp
		c.f.mu.Lock()
		for _, p := range c.f.pdps {
			if p.m.Incarnation() == c.to {
				to = p
			}
		}
		c.f.mu.Unlock()
		if to == nil || to.Serving() != nil {
			return errors.New("there is no such PDP, or it may not answer")
		}
		a := replica.Answer{Want: w, Applied: to.feed.Applied()}
		wait := to.feed.Await
		if w.All {
			wait = to.feed.AwaitAll
		}
		if r, err := wait(ended, w.Revision, nil); err == nil {
			a.Settled, a.Acked, a.Lapsed, a.Pending = r.Effective, r.Acked, r.Lapsed, r.Pending
		}
		if each(a); a.Settled {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// lag holds back what others commit from p, and says until where it has heard.
func (p *pdp) lag() authz.Revision {
	synctest.Wait()
	p.store.Hold()
	return p.view.Mark().Revision
}

// hold opens a generation at p and has it rest on a job's token.
func (p *pdp) hold(t testing.TB, d authz.Digest) (*feed.Stream, authz.Decision) {
	t.Helper()
	s, err := p.feed.Open(t.Context(), "sidecar", feed.About{}, lease.Hello{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	dec := p.keep(s.Generation(), "sidecar", func() authz.Decision {
		dec, err := p.Check(t.Context(), read(d))
		if err != nil {
			t.Fatal(err)
		}
		return dec
	})
	if !dec.Allow || dec.Number == 0 {
		t.Fatalf("%+v", dec)
	}
	return s, dec
}

// TestUnknownOnlyAfterCatchingUp: after Issue has returned the very next check succeeds
// anywhere, whatever the other PDP has heard; one that cannot tell says so (R16).
func TestUnknownOnlyAfterCatchingUp(t *testing.T) {
	inFleet(t, 3, 0, nil, func(t *testing.T, f *fleet, ps []*pdp) {
		asks := map[string]func(e *Engine, id authz.JobID, d authz.Digest) (found bool, err error){
			"Check": func(e *Engine, _ authz.JobID, d authz.Digest) (bool, error) {
				dec, err := e.Check(t.Context(), read(d))
				return dec.Allow, err
			},
			"Introspect": func(e *Engine, _ authz.JobID, d authz.Digest) (bool, error) {
				info, err := e.Introspect(t.Context(), d)
				return info.Live, err
			},
			"GetJob": func(e *Engine, id authz.JobID, _ authz.Digest) (bool, error) {
				info, err := e.GetJob(t.Context(), id)
				return info.Live, err
			},
			"Revoke": func(e *Engine, _ authz.JobID, d authz.Digest) (bool, error) {
				out, err := e.Revoke(t.Context(), runner(), RevokeRequest{Tokens: []authz.Digest{d}, ValidateOnly: true})
				return err == nil && out.Items[0].Ending == EndedNow, err
			},
		}
		for name, ask := range asks {
			at := ps[1].lag()
			id := authz.JobID("job-" + name)
			d := mustIssue(t, ps[0].Engine, issue1(id))
			if ps[1].view.Mark().Revision != at {
				t.Fatal("it does not lag")
			}
			ps[1].store.Cut()
			if _, err := ask(ps[1].Engine, id, d); authz.KindOf(err) != authz.KindUnavailable {
				t.Errorf("%s says %v while it cannot tell", name, err)
			}
			ps[1].store.Mend()
			if found, err := ask(ps[1].Engine, id, d); err != nil || !found {
				t.Errorf("%s: found %t, %v", name, found, err)
			}
			ps[1].store.Release()
		}
		dec, err := ps[1].Check(t.Context(), read(authz.Digest{9}))
		if err != nil || dec.Reason != authz.TokenUnknown {
			t.Errorf("a token that nobody has: %v, %v", dec.Reason, err)
		}
	})
}

// TestHeartbeatElsewhere: a runner that was heard by one PDP is not taken for silent by
// another that has not heard of it (R12).
func TestHeartbeatElsewhere(t *testing.T) {
	inFleet(t, 2, 0, nil, func(t *testing.T, f *fleet, ps []*pdp) {
		req := issue1("j")
		req.Runner, req.Term = "r", time.Second
		d := mustIssue(t, ps[0].Engine, req)
		if err := ps[1].CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(990 * time.Millisecond)
		ps[1].lag()
		if _, err := ps[0].KeepAlive(t.Context(), runner(), "r"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		if dec := ps[1].view.Decide(new(policy.Walk), read(d), ps[1].Now()); dec.Reason != authz.HeartbeatLapsed {
			t.Logf("it does not lag, as it has just tried to make the lapse final: %v", dec.Reason)
		}
		if dec, err := ps[1].Check(t.Context(), read(d)); err != nil || !dec.Allow {
			t.Errorf("%v, %v", dec.Reason, err)
		}
	})
}

// TestHeadReadIsNotStale: of calls that share a read of the head none joins one that has been
// sent, which may be older than what the caller has been told (R16). The planted bug, of the
// store, is caught by the same check.
func TestHeadReadIsNotStale(t *testing.T) {
	for _, planted := range []bool{false, true} {
		var late *sharedReads
		wrap := func(h *memstore.Handle) state.Store {
			late = &sharedReads{Handle: h, joinsSent: planted}
			return late
		}
		inFleet(t, 2, 0, wrap, func(t *testing.T, f *fleet, ps []*pdp) {
			ps[1].lag()
			late.other, late.gate = ps[0].store, make(chan struct{})
			first := make(chan authz.Decision)
			go func() {
				dec, err := ps[1].Check(t.Context(), read(authz.Digest{9}))
				if err != nil {
					t.Error(err)
				}
				first <- dec
			}()
			synctest.Wait() // its read has been answered by the cluster, and the answer is on the way
			d := mustIssue(t, ps[0].Engine, issue1("j"))
			second := make(chan authz.Decision)
			go func() {
				dec, err := ps[1].Check(t.Context(), read(d))
				if err != nil {
					t.Error(err)
				}
				second <- dec
			}()
			synctest.Wait()
			close(late.gate)
			if dec := <-first; dec.Reason != authz.TokenUnknown {
				t.Errorf("%v", dec.Reason)
			}
			if dec := <-second; dec.Allow == planted {
				t.Errorf("planted %t: %v", planted, dec.Reason)
			}
		})
	}
}

// sharedReads is a store whose head is read for many at a time, and slowly.
type sharedReads struct {
	*memstore.Handle
	joinsSent bool
	other     *memstore.Handle // has the head; nil before the test begins
	gate      chan struct{}

	mu         sync.Mutex
	next, sent *headRead
}

type headRead struct{ done chan struct{} }

func (s *sharedReads) Commit(ctx context.Context, b state.Batch) (authz.Revision, error) {
	if s.other == nil || len(b.Puts)+len(b.Deletes)+len(b.Events) > 0 {
		return s.Handle.Commit(ctx, b)
	}
	s.mu.Lock()
	mine := s.next
	switch {
	case s.joinsSent && s.sent != nil:
		mine = s.sent
	case mine == nil:
		mine = &headRead{make(chan struct{})}
		s.next = mine
		if s.sent == nil {
			go s.run()
		}
	}
	s.mu.Unlock()
	<-mine.done
	mark, _ := s.Head()
	return mark.Revision, nil
}

func (s *sharedReads) run() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.next != nil {
		s.sent, s.next = s.next, nil
		s.mu.Unlock()
		head, _ := s.other.Head()
		<-s.gate
		for mark, _ := s.Head(); mark.Revision < head.Revision; mark, _ = s.Head() {
			s.Deliver(1)
		}
		close(s.sent.done)
		s.mu.Lock()
	}
	s.sent = nil
}

// TestReachedCatchesUp: a caller that has seen more is answered after catching up, and told
// BEHIND only for what is nowhere (R14).
func TestReachedCatchesUp(t *testing.T) {
	inFleet(t, 2, 0, nil, func(t *testing.T, f *fleet, ps []*pdp) {
		for _, epoch := range []uint64{0, 1} {
			ps[1].lag()
			mustIssue(t, ps[0].Engine, issue1(authz.JobID(fmt.Sprint("j", epoch))))
			head := ps[0].view.Mark().Revision
			ps[1].store.Cut()
			if err := ps[1].Reached(t.Context(), epoch, head); authz.KindOf(err) != authz.KindUnavailable || codeOf(err) == CodeBehind {
				t.Errorf("while the store is out of reach: %v", err)
			}
			ps[1].store.Mend()
			if err := ps[1].Reached(t.Context(), epoch, head); err != nil {
				t.Error(err)
			}
			if err := ps[1].Reached(t.Context(), epoch, head+1); codeOf(err) != CodeBehind {
				t.Errorf("what is nowhere: %v", err)
			}
			ps[1].store.Release()
		}
		ps[1].store.Cut()
		time.Sleep(aFence)
		began := time.Now()
		if err := ps[1].Reached(t.Context(), 1, 1<<40); codeOf(err) != state.CodeFenced || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestReceiptWaitsForThePeer: a receipt has the sidecars of the other PDPs in it, asked for
// once, asked for again (R6), and asked for by revision; a call that does not wait asks nobody.
func TestReceiptWaitsForThePeer(t *testing.T) {
	inFleet(t, 3, 0, nil, func(t *testing.T, f *fleet, ps []*pdp) {
		d := mustIssue(t, ps[0].Engine, issue1("j"))
		s, _ := ps[1].hold(t, d)
		lists := ps[0].m.Stats().Lists
		out, err := ps[0].Revoke(t.Context(), runner(), byJob("j"))
		if err != nil {
			t.Fatal(err)
		}
		if r := ps[0].Await(t.Context(), WaitDurable, out.Awaits()); r.Effective || ps[0].m.Stats().Lists != lists {
			t.Errorf("without waiting: %+v, %d lists", r, ps[0].m.Stats().Lists-lists)
		}
		soon, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		r := ps[0].Await(soon, WaitEffective, out.Awaits())
		cancel()
		if r.Effective || r.Pending != 1 || len(r.Replicas) != 2 || r.Bound < aFence {
			t.Errorf("before the ack: %+v", r)
		}
		again, err := ps[2].Revoke(t.Context(), runner(), byJob("j"))
		if err != nil {
			t.Fatal(err)
		}
		var steps []Receipt
		var waits sync.WaitGroup
		waits.Go(func() {
			if r := ps[2].Await(t.Context(), WaitEffective, again.Awaits()); !r.Effective || r.Acked != 1 || r.Elapsed < 200*time.Millisecond {
				t.Errorf("the repeated call: %+v", r)
			}
		})
		waits.Go(func() {
			r, err := ps[0].AwaitAll(t.Context(), out.Revision, func(r Receipt) { steps = append(steps, r) })
			if err != nil || !r.Effective || r.Acked != 1 || r.Pending != 0 || len(r.Replicas) != 2 || len(steps) == 0 || steps[0].Effective {
				t.Errorf("by revision: %+v, %v, after %+v", r, err, steps)
			}
		})
		waits.Go(func() { // a PDP that has not heard of it
			ps[2].lag()
			if r, err := ps[2].AwaitAll(t.Context(), out.Revision, nil); err != nil || !r.Effective {
				t.Errorf("at another: %+v, %v", r, err)
			}
		})
		time.Sleep(200 * time.Millisecond)
		if _, err := s.Next(t.Context()); err != nil {
			t.Error(err)
		}
		s.Ack(out.Revision)
		waits.Wait()
		for _, r := range ps[0].Await(t.Context(), WaitEffective, out.Awaits()).Replicas {
			if r.Outcome != replica.Settled {
				t.Errorf("%+v", r)
			}
		}
		if _, err := ps[0].AwaitAll(t.Context(), 1<<40, nil); codeOf(err) != feed.CodeRevisionAhead {
			t.Errorf("the future: %v", err)
		}
	})
}

// TestFencedAnswersNothing: a PDP that has not heard of a revocation is fenced within the
// bound, and from the effective receipt on answers nothing from before it, grants nothing and
// renews nothing, until it has joined anew and caught up (P1, M1 to M3, M8). With planted
// bugs of the Member it does.
func TestFencedAnswersNothing(t *testing.T) {
	for _, stuck := range []bool{true, false} {
		for _, fault := range []replica.Fault{0, replica.FaultServesOn, replica.FaultHeadIgnored} {
			if !stuck && fault != 0 {
				continue // it is gone before it hears that it was fenced
			}
			wrong := 0
			inFleet(t, 3, fault, nil, func(t *testing.T, f *fleet, ps []*pdp) {
				d := mustIssue(t, ps[0].Engine, issue1("j"))
				if err := ps[1].CatchUp(t.Context()); err != nil {
					t.Fatal(err)
				}
				s, _ := ps[1].hold(t, d)
				was := ps[1].m.Incarnation()
				ps[1].lag()
				if !stuck {
					ps[1].store.Cut()
				}
				began := time.Now()
				out, err := ps[0].Revoke(t.Context(), runner(), byJob("j"))
				if err != nil {
					t.Fatal(err)
				}
				wait, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				r := ps[0].Await(wait, WaitEffective, out.Awaits())
				if took := time.Since(began); !r.Effective || took > aBound || took > r.Bound || took < aTerm {
					t.Errorf("stuck %t: %+v after %v", stuck, r, took)
				}
				outcomes := map[string]replica.Outcome{}
				for _, o := range r.Replicas {
					outcomes[o.Name] = o.Outcome
				}
				if outcomes["p1"] != replica.Gone || outcomes["p2"] != replica.Settled {
					t.Errorf("%v", outcomes)
				}
				for range 100 { // P1
					dec, err := ps[1].Check(t.Context(), read(d))
					if dec.Allow {
						wrong++
					}
					if fault == 0 && codeOf(err) != state.CodeFenced {
						t.Errorf("%v, %v", dec, err)
					}
					if _, err := ps[1].Introspect(t.Context(), d); fault == 0 && codeOf(err) != state.CodeFenced {
						t.Errorf("Introspect: %v", err)
					}
					if _, err := ps[1].feed.Open(t.Context(), "x", feed.About{}, lease.Hello{}); fault == 0 && codeOf(err) != feed.CodeFenced {
						t.Errorf("a hello: %v", err)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if fault != 0 {
					return
				}
				if _, err := s.Next(t.Context()); codeOf(err) != feed.CodeStreamCut {
					t.Errorf("the old stream: %v", err)
				}
				// Its own receipts are right all the same, and no error.
				if stuck {
					late, err := ps[1].Revoke(t.Context(), runner(), byJob("other"))
					if err != nil {
						t.Fatal(err)
					}
					if r := ps[1].Await(wait, WaitEffective, late.Awaits()); !r.Effective {
						t.Errorf("its own receipt: %+v", r)
					}
				}
				ps[1].store.Mend()
				ps[1].store.Release()
				for ps[1].Serving() != nil {
					time.Sleep(10 * time.Millisecond)
				}
				if ps[1].m.Incarnation() == was {
					t.Error("it has come back under the name that was fenced")
				}
				wantReason(t, ps[1].Engine, read(d), authz.JobNotRunning)
			})
			if (wrong > 0) != (fault != 0) {
				t.Errorf("stuck %t, fault %d: %d wrong answers", stuck, fault, wrong)
			}
		}
	}
}

// TestReplicaNeedsASharedStore: an engine that would not hear of the others is not made.
func TestReplicaNeedsASharedStore(t *testing.T) {
	m := replica.New(replica.Options{Registry: memstore.NewCluster(memstore.Options{}).Open().Registry(), Dialer: &fleet{}, Now: func() lease.Instant { return 0 }})
	if _, err := New(t.Context(), Options{Store: memstore.New(), Replica: m}); codeOf(err) != CodeNotShared {
		t.Errorf("%v", err)
	}
}
