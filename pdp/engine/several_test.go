package engine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// member is one of several engines on one history.
type member struct {
	*Engine
	store *memstore.Handle
	clock *handClock
}

// newReplicas starts n engines on one history with a world in it, each with a clock of its own.
func newReplicas(t *testing.T, n int, world ...state.Record) (*memstore.Cluster, []member) {
	t.Helper()
	c := memstore.NewCluster(memstore.Options{})
	var all []member
	for i := range n {
		r := openReplica(t, c)
		all = append(all, r)
		if i == 0 && len(world) > 0 {
			if _, err := r.store.Commit(t.Context(), state.Batch{Puts: world, Stamp: r.clock.Now()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c, all
}

func openReplica(t *testing.T, c *memstore.Cluster) member {
	t.Helper()
	r := member{store: c.Open(), clock: newHandClock(noon())}
	t.Cleanup(func() { r.store.Close() }) // after the engine
	r.Engine = startEngine(t, r.store, r.clock)
	return r
}

// behind holds back what others commit from r while f runs.
func (r member) behind(f func()) {
	r.store.Hold()
	defer r.store.Release()
	f()
}

// No verb refuses, or finds nothing to do, from a view that is behind what another PDP has
// answered for (R8, R16).
func TestLaggingReplicaRefusesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		at   func(*Engine) error // at one replica
		then func(*Engine) error // must not fail at another that has not heard of it
	}{
		{"issue for a new project", apply(personal(9, "dev", "new")), func(e *Engine) error {
			_, err := e.Issue(t.Context(), runner(), IssueRequest{Job: "j", Project: 9, User: 1})
			return err
		}},
		{"a role on it", apply(personal(9, "dev", "new")), apply(role(1, authz.InProject(9), authz.RoleOwner))},
		{"a name that is free again", apply(personal(1, "dev", "other")), apply(personal(9, "dev", "app"))},
		{"revoke of a new token", issueOn("j"), func(e *Engine) error {
			j, err := e.Revoke(t.Context(), runner(), RevokeRequest{Tokens: []authz.Digest{digestOf("j")}})
			if err == nil && j.Items[0].Ending != EndedNow {
				t.Errorf("the token is %v", j.Items[0])
			}
			return err
		}},
		{"revoke of it and of a job", issueOn("j"), func(e *Engine) error {
			j, err := e.Revoke(t.Context(), runner(), RevokeRequest{Jobs: []authz.JobID{"k"}, Tokens: []authz.Digest{digestOf("j")}})
			if err == nil && j.Items[1].Ending != EndedNow {
				t.Errorf("the token is %v", j.Items[1])
			}
			return err
		}},
		{"block of somebody unblocked", func(e *Engine) error {
			_, err := e.UnblockUser(t.Context(), forge(), UserStateRequest{User: 2})
			return err
		}, func(e *Engine) error {
			d, err := e.BlockUser(t.Context(), forge(), UserStateRequest{User: 2, State: authz.UserStateBlocked, RequestID: "r"})
			if u, _, _ := e.view.User(2); err == nil && (u.State == authz.UserStateActive || d.Unchanged) {
				t.Errorf("the user is %v after %+v", u.State, d)
			}
			return err
		}},
		{"an entry for a new project", apply(personal(9, "dev", "new")), func(e *Engine) error {
			_, _, err := e.AddEntry(t.Context(), admin(), EntryEdit{AllowlistEdit: AllowlistEdit{Project: 1}, Other: authz.InProject(9), Default: true})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			world := append(tokenWorld(), &state.User{ID: 2, Name: "eli", State: authz.UserStateBlocked})
			world = append(world[:3], world[4:]...)
			_, rs := newReplicas(t, 2, world...)
			rs[1].behind(func() {
				if err := c.at(rs[0].Engine); err != nil {
					t.Fatal(err)
				}
				if err := c.then(rs[1].Engine); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// digestOf is what issueOn gives a job for a token.
func digestOf(id authz.JobID) (d authz.Digest) {
	copy(d[:], "digest of "+id)
	return d
}

func issueOn(id authz.JobID) func(*Engine) error {
	return func(e *Engine) error {
		now := e.clock.Now()
		_, err := e.store.Commit(context.Background(), state.Batch{Stamp: now, Puts: []state.Record{&state.Job{
			ID: id, Digest: digestOf(id), Project: 1, User: 1, Issued: state.ThisRevision, IssuedAt: now, Expires: now.Add(time.Hour),
		}}})
		return err
	}
}

// Names, parents and emptiness are kept by several records at once, and two PDPs decide on
// them at the same moment: only one gets through.
func TestDirectoryAtTwoReplicas(t *testing.T) {
	for _, c := range []struct {
		name     string
		one, two Change
		code     string
	}{
		{"one path", personal(5, "u", "x"), personal(6, "u", "x"), CodeNameTaken},
		{"a circle", group(1, 2, "a"), group(2, 1, "b"), CodeInvalidField},
		{"into a group that goes", Change{DeleteGroup: 2}, projectIn(5, 2, "x"), CodeInvalidField},
		{"a group that fills", projectIn(5, 2, "x"), Change{DeleteGroup: 2}, CodeGroupNotEmpty},
		{"a role on what goes", Change{DeleteGroup: 2}, role(1, authz.InGroup(2), authz.RoleGuest), CodeInvalidField},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, rs := newReplicas(t, 2, &state.Group{ID: 1, Name: "a"}, &state.Group{ID: 2, Name: "b"}, &state.User{ID: 1, Name: "u"})
			rs[1].behind(func() {
				mustApply(t, rs[0].Engine, c.one)
				_, err := rs[1].Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{c.two}})
				if codeOf(err) != c.code {
					t.Errorf("the second is %v", err)
				}
			})
		})
	}
}

// A clean-up at one PDP leaves alone what another has created again meanwhile.
func TestCleanUpLeavesTheNewAlone(t *testing.T) {
	_, rs := newReplicas(t, 2, &state.User{ID: 1, Name: "u"}, &state.Members{User: 1, List: []state.Membership{{Scope: authz.InProject(5), Role: authz.RoleOwner}}})
	rs[0].behind(func() {
		mustApply(t, rs[1].Engine, personal(5, "u", "x"), role(1, authz.InProject(5), authz.RoleGuest))
		if err := rs[0].cleanUp(t.Context(), forge(), []authz.Scope{authz.InProject(5)}, nil); err != nil {
			t.Fatal(err)
		}
	})
	if m, _ := rs[0].view.Members(1); len(m.List) != 1 || m.List[0].Role != authz.RoleGuest {
		t.Errorf("the roles are %v", m.List)
	}
}

// R12: a PDP's time is never behind what another has committed, and its leases are counted on
// a clock that nothing moves.
func TestClockRisesWithOthers(t *testing.T) {
	_, rs := newReplicas(t, 2, tokenWorld()...)
	rs[0].clock.advance(time.Minute)
	lease := rs[1].opt.Feed
	mustIssue(t, rs[0].Engine, issue1("j"))
	if err := rs[1].catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := rs[1].Now(); got < rs[0].Now() {
		t.Errorf("the time is %s behind", rs[0].Now().Sub(got))
	}
	if lease.Now != nil || rs[1].clock.Now() != authz.StampOf(noon()) {
		t.Error("the clock below has moved")
	}
	rs[0].clock.advance(-30 * time.Second)
	before := rs[1].Now()
	mustIssue(t, rs[0].Engine, issue1("k"))
	if err := rs[1].catchUp(t.Context()); err != nil || rs[1].Now() < before {
		t.Errorf("%v, or the time went back", err)
	}
}

// R12: every PDP tells a runner of jobs that have lapsed, whoever made it final.
func TestEveryReplicaTellsOfLapsedJobs(t *testing.T) {
	_, rs := newReplicas(t, 2, tokenWorld()...)
	job := issue1("j")
	job.Runner, job.Term = "r", time.Minute
	mustIssue(t, rs[0].Engine, job)
	rs[1].behind(func() {
		rs[0].clock.advance(2 * time.Minute)
		if err := rs[0].commitLapsed(t.Context(), rs[0].Now()); err != nil {
			t.Fatal(err)
		}
		// The other's own clock says that the heartbeat comes in time.
		out, err := rs[1].KeepAlive(t.Context(), runner(), "r")
		if err != nil || out.Alive != 0 || len(out.Lapsed) != 1 || out.Next != 0 {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

// A KeepAlive that one PDP has answered is not overtaken by another's lapse.
func TestLapseYieldsToAHeartbeatElsewhere(t *testing.T) {
	_, rs := newReplicas(t, 2, tokenWorld()...)
	job := issue1("j")
	job.Runner, job.Term = "r", time.Minute
	d := mustIssue(t, rs[0].Engine, job)
	if err := rs[1].catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	rs[1].behind(func() {
		rs[0].clock.advance(50 * time.Second)
		if _, err := rs[0].KeepAlive(t.Context(), runner(), "r"); err != nil {
			t.Fatal(err)
		}
		rs[1].clock.advance(70 * time.Second)
		if err := rs[1].commitLapsed(t.Context(), rs[1].Now()); err != nil {
			t.Fatal(err)
		}
	})
	wantReason(t, rs[1].Engine, ask(d, "read_own_job", 0), authz.AllowedOwnJob)
}

// R12: a PDP that starts while another serves gives no heartbeat a new term, and one that
// starts beside registrations of the dead, or of those that start as well, does.
func TestHeartbeatsRestartOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		applied authz.Revision
		renews  bool
		restart bool
	}{
		{"nobody", 0, false, true},
		{"another serves", 7, true, false},
		{"another is dead", 7, false, true},
		{"another starts", 0, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRestart(t, c.applied, c.renews, c.restart) })
		})
	}
}

func testRestart(t *testing.T, applied authz.Revision, renews, restart bool) {
	cluster, rs := newReplicas(t, 1, tokenWorld()...)
	job := issue1("j")
	job.Runner, job.Term = "r", time.Minute
	mustIssue(t, rs[0].Engine, job)
	reg := state.Registration{Incarnation: state.Incarnation{1}, Name: "a", Applied: applied, Fence: 5 * time.Second, Version: 1}
	if _, err := rs[0].store.Registry().Join(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var other sync.WaitGroup
	defer other.Wait()
	defer stop()
	if renews {
		other.Go(func() {
			for next := reg; ctx.Err() == nil; time.Sleep(reg.Fence / 3) {
				next.Version++
				rs[0].store.Registry().Renew(ctx, next)
			}
		})
	}
	began := time.Now()
	late := member{store: cluster.Open(), clock: newHandClock(noon().Add(50 * time.Second))}
	late.Engine = startEngine(t, late.store, late.clock)
	defer late.store.Close()
	_, _, ok := late.view.Runner("r")
	if ok != restart {
		t.Errorf("restarted: %t", ok)
	}
	if took := time.Since(began); took > reg.Fence*3/2 {
		t.Errorf("the start took %s", took)
	}
	late.Close()
	late.store.Close()
	rs[0].Close()
	rs[0].store.Close()
}

// The list of running jobs is as of a revision that another PDP gave.
func TestReconcileCatchesUp(t *testing.T) {
	_, rs := newReplicas(t, 2, tokenWorld()...)
	rs[1].behind(func() {
		mustIssue(t, rs[0].Engine, issue1("j"))
		mustIssue(t, rs[0].Engine, issue1("k"))
		out, err := rs[1].Reconcile(t.Context(), runner(), ReconcileRequest{AsOf: rs[0].view.Mark().Revision, Running: []authz.JobID{"j"}})
		if err != nil || len(out.Finished) != 1 || out.Confirmed != 1 || len(out.Dead) != 0 {
			t.Errorf("%+v, %v", out, err)
		}
	})
}
