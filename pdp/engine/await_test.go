package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// bubbleClock is the virtual time of testing/synctest.
type bubbleClock struct{}

func (bubbleClock) Now() authz.Stamp { return authz.StampOf(time.Now()) }

// leased is an engine with a sidecar that says nothing of itself.
type leased struct {
	*Engine
	t      *testing.T
	store  *memstore.Store
	stream *feed.Stream
	token  authz.Digest // of job "j"
}

const holder = "sidecar-1"

func newLeased(t *testing.T) *leased {
	t.Helper()
	l := &leased{t: t, store: storeOf(t, tokenWorld()...)}
	l.start()
	l.token = mustIssue(t, l.Engine, issue1("j"))
	l.hello()
	return l
}

func (l *leased) start() {
	l.t.Helper()
	l.Engine = startEngine(l.t, l.store, bubbleClock{})
}

// restart is a start after a kill.
func (l *leased) restart() {
	l.t.Helper()
	l.Engine.Close()
	l.store = l.store.Reopen()
	l.start()
}

func (l *leased) hello() {
	l.t.Helper()
	s, err := l.Feed().Open(l.t.Context(), holder, feed.About{Name: "s"}, lease.Hello{})
	if err != nil {
		l.t.Fatal(err)
	}
	l.stream = s
}

// keep asks for something and keeps the answer.
func (l *leased) keep(req authz.Request) {
	l.t.Helper()
	if d := l.Keep(new(policy.Walk), l.stream.Generation(), holder, req); d.Number == 0 {
		l.t.Fatalf("%s may not be kept", d.Reason)
	}
}

// ack acks what the stream has.
func (l *leased) ack() {
	l.t.Helper()
	for range 2 { // what the hello gave may come first
		ctx, cancel := context.WithTimeout(l.t.Context(), time.Millisecond)
		ms, err := l.stream.Next(ctx)
		cancel()
		if err != nil && authz.KindOf(err) != authz.KindCanceled {
			l.t.Fatal(err)
		}
		for _, m := range ms {
			if m.Kind == lease.Invalidation {
				l.stream.Ack(m.Revision)
			}
		}
	}
}

// briefly waits for a receipt with a deadline in a second, which Await must keep.
func (l *leased) briefly(a Awaits) Receipt {
	l.t.Helper()
	start := time.Now()
	ctx, cancel := context.WithDeadline(l.t.Context(), start.Add(time.Second))
	defer cancel()
	r := l.Await(ctx, WaitEffective, a)
	if took := time.Since(start); took > 900*time.Millisecond || took != r.Elapsed || r.Effective == (took == 900*time.Millisecond) {
		l.t.Errorf("it took %v of a second, and says %+v", took, r)
	}
	return r
}

// TestEveryVerbHasAReceipt changes something that a sidecar's answer rests on, by every
// verb, while the sidecar does not ack: the receipt is not effective, repeating the call
// waits like the first (R6), and the ack makes both effective (P1).
func TestEveryVerbHasAReceipt(t *testing.T) {
	off, strict := false, authz.ScopeStrict
	other := authz.InProject(2)
	setUp := func(l *leased) error {
		_, _, err := l.AddEntry(l.t.Context(), admin(), EntryEdit{AllowlistEdit: AllowlistEdit{Project: 1}, Other: other, Default: true})
		return err
	}
	for name, verb := range map[string]func(ctx context.Context, l *leased) (Awaits, error){
		"revoke": func(ctx context.Context, l *leased) (Awaits, error) {
			out, err := l.Revoke(ctx, runner(), byJob("j"))
			return out.Awaits(), err
		},
		"revoke by token, beside others": func(ctx context.Context, l *leased) (Awaits, error) {
			out, err := l.Revoke(ctx, runner(), RevokeRequest{Jobs: []authz.JobID{"k", "l"}, Tokens: []authz.Digest{l.token, {9}}})
			return out.Awaits(), err
		},
		"issue again": func(ctx context.Context, l *leased) (Awaits, error) {
			out, err := l.Issue(ctx, runner(), issue1("j"))
			return out.Awaits(), err
		},
		"reconcile": func(ctx context.Context, l *leased) (Awaits, error) {
			out, err := l.Reconcile(ctx, runner(), ReconcileRequest{AsOf: l.View().Mark().Revision})
			return out.Awaits(), err
		},
		"delete the project": func(ctx context.Context, l *leased) (Awaits, error) {
			out, err := l.BeginProjectDeletion(ctx, admin(), DeletionRequest{Project: 1})
			return out.Awaits(), err
		},
		"block the user": func(ctx context.Context, l *leased) (Awaits, error) {
			out, err := l.BlockUser(ctx, admin(), UserStateRequest{User: 1, State: authz.UserStateBlocked})
			return out.Awaits(), err
		},
		"take a role": func(ctx context.Context, l *leased) (Awaits, error) {
			out, err := l.Apply(ctx, admin(), ApplyRequest{Changes: []Change{{DeleteMembership: &MembershipRef{User: 1, Scope: authz.InProject(1)}}}})
			return out.Awaits(), err
		},
		"switch the list": func(ctx context.Context, l *leased) (Awaits, error) {
			_, out, err := l.UpdateAllowlist(ctx, admin(), AllowlistSettings{AllowlistEdit: AllowlistEdit{Project: 1}, InboundOn: &off})
			return out.Awaits(), err
		},
		"remove an entry, by request id": func(ctx context.Context, l *leased) (Awaits, error) {
			out, err := l.RemoveEntry(ctx, admin(), EntryRemoval{AllowlistEdit: AllowlistEdit{Project: 1, RequestID: "x"}, Other: other})
			return out.Awaits(), err
		},
		"instance settings": func(ctx context.Context, l *leased) (Awaits, error) {
			_, out, err := l.UpdateInstance(ctx, admin(), InstanceEdit{PublicScope: &strict})
			return out.Awaits(), err
		},
		"catalogue": func(ctx context.Context, l *leased) (Awaits, error) {
			doc := []byte(`{"permissions":[{"name":"fly","surface":"rest","role":"guest"}]}`)
			_, out, err := l.UpdateCatalogue(ctx, admin(), CatalogueEdit{Document: doc})
			return out.Awaits(), err
		},
		"synchronise": func(ctx context.Context, l *leased) (Awaits, error) {
			s, err := l.BeginSync(admin(), SyncOptions{})
			if err != nil {
				return Awaits{}, err
			}
			for _, c := range []Change{
				{Project: &state.Project{ID: 1, Namespace: "dev", Name: "app", PublicBuilds: true}}, {User: &state.User{ID: 1, Name: "dana"}},
			} {
				err = errors.Join(err, s.Add(c))
			}
			diff, err2 := s.Finish(ctx)
			return diff.Awaits(), errors.Join(err, err2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLeased(t)
				if err := setUp(l); err != nil {
					t.Fatal(err)
				}
				l.ack()
				l.keep(read(l.token))
				first, err := verb(t.Context(), l)
				if err != nil {
					t.Fatal(err)
				}
				if r := l.briefly(first); r.Effective || r.Pending == 0 || r.Revision != first.Revision {
					t.Errorf("the first call: %+v", r)
				}
				if r := l.Await(t.Context(), WaitDurable, first); r.Effective || r.Elapsed != 0 || r.Pending == 0 {
					t.Errorf("without waiting: %+v", r)
				}
				again, err := verb(t.Context(), l)
				if err != nil {
					t.Fatal(err)
				}
				if name != "issue again" { // which is another change
					if r := l.briefly(again); r.Effective || r.Pending == 0 {
						t.Errorf("the call repeated: %+v for %+v", r, again)
					}
				}
				l.ack()
				for _, a := range []Awaits{first, again} {
					if r := l.briefly(a); !r.Effective || r.Acked == 0 || r.Lapsed != 0 || r.Quiet != 0 {
						t.Errorf("after the ack: %+v", r)
					}
				}
				if r := l.Await(t.Context(), WaitDurable, first); !r.Effective {
					t.Errorf("without waiting, after the ack: %+v", r)
				}
			})
		})
	}
}

// TestReceiptsAfterAKill: a PDP that was killed cannot know who believes what, so what
// takes rights away waits (R1); a new token takes nothing away.
func TestReceiptsAfterAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeased(t)
		l.restart()
		start := time.Now()
		out, err := l.Issue(t.Context(), runner(), issue1("new"))
		if err != nil {
			t.Fatal(err)
		}
		if r := l.Await(t.Context(), WaitEffective, out.Awaits()); !r.Effective || r.Elapsed != 0 || r.Revision != out.Revision {
			t.Errorf("a new token: %+v", r)
		}
		dead, err := l.Revoke(t.Context(), runner(), byJob("j"))
		if err != nil {
			t.Fatal(err)
		}
		if r := l.briefly(dead.Awaits()); r.Effective || r.Pending != 0 || r.Quiet == 0 {
			t.Errorf("revoked at once: %+v", r)
		}
		r := l.Await(t.Context(), WaitEffective, dead.Awaits())
		if at := time.Since(start); !r.Effective || at < lease.GrantorTerm(lease.DefaultTerm) || at > lease.GrantorTerm(lease.DefaultTerm)+50*time.Millisecond {
			t.Errorf("revoked: %+v after %v", r, at)
		}
	})
}

// TestKeep: an answer may be kept by the caller whose generation it names, and by nobody
// else (R3).
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeased(t)
		k := new(policy.Walk)
		for _, c := range []struct {
			name  string
			gen   lease.Generation
			owner string
			keep  bool
		}{
			{"its own", l.stream.Generation(), holder, true},
			{"none", 0, holder, false},
			{"somebody else's", l.stream.Generation(), "sidecar-2", false},
			{"unknown", l.stream.Generation() + 1, holder, false},
		} {
			d := l.Keep(k, c.gen, c.owner, read(l.token))
			if d.Reason != authz.AllowedSelf || (d.Number != 0) != c.keep {
				t.Errorf("%s: %s with number %d", c.name, d.Reason, d.Number)
			}
		}
		// An unknown token rests on nothing and is kept all the same (R16).
		if d := l.Keep(k, l.stream.Generation(), holder, read(authz.Digest{9})); d.Reason != authz.TokenUnknown || d.Number == 0 || len(d.Keys) != 0 {
			t.Errorf("unknown: %+v", d)
		}
		gen, req := l.stream.Generation(), read(l.token)
		if n := testing.AllocsPerRun(100, func() { l.Keep(k, gen, holder, req) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
		l.stream.Close()
		if d := l.Keep(k, l.stream.Generation(), holder, read(l.token)); d.Number != 0 || !d.Allow {
			t.Errorf("after the stream broke: %+v", d)
		}
	})
}

// TestKeepJudgesAgain has commits between judging and recording: what is kept was judged
// after the last of them, and with too many nothing is kept (R5).
func TestKeepJudgesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeased(t)
		for _, c := range []struct {
			commits, judged int
			kept            bool
		}{{0, 1, true}, {1, 2, true}, {2, 3, true}, {3, 3, false}, {9, 3, false}} {
			judged := 0
			d := l.Engine.keep(l.stream.Generation(), holder, func() authz.Decision {
				d := l.Decide(new(policy.Walk), read(l.token))
				if judged++; judged <= c.commits {
					user := &state.User{ID: 1, Name: "dana", State: authz.UserState(judged % 2)}
					if _, err := l.store.Commit(t.Context(), state.Batch{Puts: []state.Record{user}}); err != nil {
						t.Error(err)
					}
				}
				return d
			})
			if judged != c.judged || (d.Number != 0) != c.kept {
				t.Errorf("%d commits: judged %d times, number %d", c.commits, judged, d.Number)
			}
			if is := l.Decide(new(policy.Walk), read(l.token)); c.kept && (is.Reason != d.Reason || is.Revision != d.Revision) {
				t.Errorf("%d commits: %s at %d is kept, and it is %s at %d", c.commits, d.Reason, d.Revision, is.Reason, is.Revision)
			}
		}
		// Nothing that the answer rests on changed.
		d := l.Engine.keep(l.stream.Generation(), holder, func() authz.Decision {
			d := l.Decide(new(policy.Walk), read(l.token))
			if _, err := l.Revoke(t.Context(), runner(), byJob("other")); err != nil {
				t.Error(err)
			}
			return d
		})
		if d.Number == 0 || d.Revision == l.View().Mark().Revision {
			t.Errorf("%+v", d)
		}
	})
}

// TestReached is the rule of epochs (R14): an older history says so, a newer one does not
// look at revisions of the old.
func TestReached(t *testing.T) {
	e, _, st := newTokenEngine(t)
	mark, _ := st.Head()
	for _, c := range []struct {
		epoch uint64
		rev   authz.Revision
		ok    bool
	}{
		{0, mark.Revision, true}, {0, mark.Revision + 1, false},
		{1, mark.Revision, true}, {1, mark.Revision + 1, false},
		{2, 0, false}, {2, mark.Revision, false},
	} {
		if err := e.Reached(t.Context(), c.epoch, c.rev); (err == nil) != c.ok || (err != nil && codeOf(err) != CodeBehind) {
			t.Errorf("epoch %d revision %d: %v", c.epoch, c.rev, err)
		}
	}
	e.View().Loaded(state.Mark{Epoch: state.Epoch{Counter: 3}, Revision: mark.Revision}, 0)
	if err := e.Reached(t.Context(), 2, mark.Revision+100); err != nil {
		t.Errorf("a revision of an older epoch: %v", err)
	}
}
